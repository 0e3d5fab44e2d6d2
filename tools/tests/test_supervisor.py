"""The supervisor as a whole, on tiny processes: order of starting and stopping, failed starts, a sudden end."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace

import psutil
import pytest
from crewmesh_testkit.ports import free_port
from crewmesh_tools.mesh.errors import MeshError
from crewmesh_tools.mesh.layout import Layout
from crewmesh_tools.mesh.leftovers import clean_up, stop_supervisor
from crewmesh_tools.mesh.plan import Plan
from crewmesh_tools.mesh.probes import http_check
from crewmesh_tools.mesh.secrets import Secrets
from crewmesh_tools.mesh.specs import ProcessSpec
from crewmesh_tools.mesh.state import (
    MeshStatus,
    ProcessStatus,
    holding_lock,
    is_locked,
    read_status,
    same_process,
    write_status,
)
from crewmesh_tools.mesh.supervisor import Supervisor

Script = Callable[[str], ProcessSpec]
Until = Callable[[Callable[[], object]], Awaitable[None]]
KEYS = Secrets({"first-run-api-key": "cm_test"})


def birth(pid: int) -> float:
    return psutil.Process(pid).create_time()


def phase_of(layout: Layout) -> str | None:
    status = read_status(layout.state_file)
    return status.phase if status else None


NOTING = """
import http.server, pathlib, signal, sys
port, name, journal = int(sys.argv[1]), sys.argv[2], pathlib.Path(sys.argv[3])
def note(what):
    with journal.open("a") as file: file.write(f"{name} {what}\\n")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_): pass
def end(*_):
    note("stopped")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
server = http.server.HTTPServer(("127.0.0.1", port), Handler)
note("started")
server.serve_forever()
"""


async def test_start_and_stop_in_order(layout: Layout, server_spec: ProcessSpec, until: Until) -> None:
    layout.seeded_marker.touch()
    journal = layout.home / "journal"

    def noting(name: str, port: int, tier: int, *needs: str) -> ProcessSpec:
        command = (sys.executable, "-c", NOTING, str(port), name, str(journal))
        check = http_check(port, "/healthz")
        return replace(server_spec, name=name, port=port, tier=tier, needs=needs, command=command, check=check)

    specs = (noting("database", server_spec.port, 0), noting("app", free_port(), 3, "database"))
    running = asyncio.create_task(Supervisor(layout).run(lambda: Plan(specs, KEYS)))
    await until(lambda: phase_of(layout) == "ready")
    os.kill(os.getpid(), signal.SIGTERM)
    assert await running == 0
    assert journal.read_text().splitlines() == ["database started", "app started", "app stopped", "database stopped"]
    status = read_status(layout.state_file)
    assert status is not None
    assert status.phase == "stopped"
    assert {process.state for process in status.processes} == {"stopped"}


async def test_a_start_that_cannot_succeed_ends_with_the_reason(layout: Layout, script: Script) -> None:
    broken = script("import sys; print('FATAL: the disk is on fire'); sys.exit(1)")
    assert await Supervisor(layout).run(lambda: Plan((broken,), KEYS)) == 1
    status = read_status(layout.state_file)
    assert status is not None
    assert status.phase == "failed"
    assert "server cannot be started (exit status 1)" in status.problem
    assert "FATAL: the disk is on fire" in status.problem


async def test_what_the_plan_refuses_is_told(layout: Layout) -> None:
    def refuse() -> Plan:
        raise MeshError("port 8080 is taken")

    assert await Supervisor(layout).run(refuse) == 1
    status = read_status(layout.state_file)
    assert status is not None
    assert status.problem == "port 8080 is taken"


PARENT = """
import signal, subprocess, sys, time
from crewmesh_tools.mesh.process import die_with_parent
child = subprocess.Popen(["sleep", "60"], stdout=subprocess.DEVNULL, preexec_fn=die_with_parent(signal.SIGKILL))
print(child.pid, flush=True)
time.sleep(60)
"""


async def test_children_die_with_a_supervisor_that_is_killed(until: Until) -> None:
    """The kernel ends them, even though nobody was left to do it."""
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", PARENT, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout is not None
    child = int(await parent.stdout.readline())
    created = birth(child)
    assert same_process(child, created) is not None
    parent.kill()
    await parent.wait()
    await until(lambda: same_process(child, created) is None)


def status_of(process: subprocess.Popen[bytes], created: float) -> MeshStatus:
    left = ProcessStatus(name="left", port=1, state="ready", pid=process.pid, created=created)
    return MeshStatus(
        phase="ready",
        supervisor_pid=process.pid,
        supervisor_created=created,
        started_at=0,
        api_url="http://localhost",
        processes=(left,),
    )


@pytest.fixture
def sleeper() -> Callable[[], subprocess.Popen[bytes]]:
    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(["sleep", "60"], start_new_session=True)

    return start


def test_leftovers_are_ended_only_when_they_are_what_was_recorded(
    layout: Layout, sleeper: Callable[[], subprocess.Popen[bytes]]
) -> None:
    stranger, left = sleeper(), sleeper()
    try:
        write_status(layout.state_file, status_of(stranger, birth(stranger.pid) - 100))
        assert clean_up(layout) == []
        assert stranger.poll() is None

        born = birth(left.pid)
        write_status(layout.state_file, status_of(left, born))
        assert clean_up(layout) == ["left"]
        assert same_process(left.pid, born) is None
    finally:
        for process in (stranger, left):
            process.kill()
            process.wait()


def test_nothing_is_cleaned_up_while_a_supervisor_lives(
    layout: Layout, sleeper: Callable[[], subprocess.Popen[bytes]]
) -> None:
    process = sleeper()
    try:
        write_status(layout.state_file, status_of(process, birth(process.pid)))
        with holding_lock(layout.lock_file):
            assert is_locked(layout.lock_file)
            assert clean_up(layout) == []
            with pytest.raises(MeshError, match="already running"), holding_lock(layout.lock_file):
                pass
        assert not is_locked(layout.lock_file)
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


def test_a_supervisor_that_does_not_listen_is_killed(layout: Layout) -> None:
    deaf = subprocess.Popen(
        [
            sys.executable,
            "-uc",
            "import signal,time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf'); time.sleep(60)",
        ],
        stdout=subprocess.PIPE,
    )
    assert deaf.stdout is not None
    assert deaf.stdout.readline()
    deaf.stdout.close()
    assert stop_supervisor(status_of(deaf, birth(deaf.pid)), seconds=0.3) is False
    assert deaf.wait() == -signal.SIGKILL
