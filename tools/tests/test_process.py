"""Supervision, tried on real child processes: restart, readiness, stop, and what must not stay behind."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import psutil
from crewmesh_testkit.ports import free_port
from crewmesh_tools.mesh.layout import Layout
from crewmesh_tools.mesh.probes import http_check
from crewmesh_tools.mesh.process import Process
from crewmesh_tools.mesh.specs import ProcessSpec
from crewmesh_tools.mesh.state import same_process

Supervise = Callable[[ProcessSpec], Process]
Script = Callable[[str], ProcessSpec]
Until = Callable[[Callable[[], object]], Awaitable[None]]


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def soon(event: asyncio.Event) -> None:
    await asyncio.wait_for(event.wait(), 60)


async def test_it_becomes_ready_and_its_output_is_kept(
    supervise: Supervise, server_spec: ProcessSpec, layout: Layout
) -> None:
    process = supervise(server_spec)
    await soon(process.ready_once)
    assert process.state == "ready"
    assert process.status().pid == process.pid
    assert f"up {process.pid}" in (layout.logs / "server.log").read_text()


async def test_a_killed_process_is_started_again_and_counted(
    supervise: Supervise, server_spec: ProcessSpec, until: Until
) -> None:
    process = supervise(server_spec)
    await soon(process.ready_once)
    first = process.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await until(lambda: process.state == "restarting")
    assert process.detail == "signal SIGKILL"
    await until(lambda: process.state == "ready")
    assert process.pid != first
    assert process.restarts == 1
    assert not process.hopeless.is_set()


async def test_a_process_that_never_gets_ready_is_reported(supervise: Supervise, script: Script) -> None:
    process = supervise(script("import sys; print('no configuration'); sys.exit(3)"))
    await soon(process.hopeless)
    assert process.detail == "exit status 3"
    assert not process.ready_once.is_set()


async def test_one_that_ends_before_it_can_be_looked_at(supervise: Supervise, server_spec: ProcessSpec) -> None:
    process = supervise(replace(server_spec, command=("/bin/true",)))
    await soon(process.hopeless)
    assert process.detail == "exit status 0"


async def test_a_program_that_does_not_exist_is_reported(supervise: Supervise, server_spec: ProcessSpec) -> None:
    process = supervise(replace(server_spec, command=("/nonexistent/program",)))
    await soon(process.hopeless)
    assert "could not be started" in process.detail


async def test_it_waits_for_what_it_needs(supervise: Supervise, server_spec: ProcessSpec, script: Script) -> None:
    needed = supervise(server_spec)
    silent = replace(script("import time; time.sleep(60)"), name="dependant", check=http_check(free_port(), "/healthz"))
    dependant = supervise(replace(silent, needs=("server",)))
    assert dependant.pid is None
    await soon(needed.ready_once)
    assert dependant.status().state in ("waiting", "starting")


async def test_stopping_lets_it_finish(supervise: Supervise, script: Script, tmp_path: Path, until: Until) -> None:
    process = supervise(
        script(
            "import signal, sys, time, pathlib\n"
            "def end(*_): pathlib.Path('finished').touch(); sys.exit(0)\n"
            "signal.signal(signal.SIGTERM, end)\n"
            "pathlib.Path('listening').touch()\n"
            "time.sleep(60)"
        )
    )
    await until((tmp_path / "listening").exists)
    await process.stop()
    assert (tmp_path / "finished").exists()
    assert process.state == "stopped"


async def test_one_that_does_not_listen_is_killed(
    supervise: Supervise, script: Script, tmp_path: Path, until: Until
) -> None:
    ignoring = "import signal, time, pathlib; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    process = supervise(replace(script(ignoring + "pathlib.Path('deaf').touch(); time.sleep(60)"), stop_seconds=0.3))
    await until((tmp_path / "deaf").exists)
    pid = process.pid
    assert pid is not None
    await process.stop()
    assert not is_alive(pid)


async def test_what_a_process_started_ends_with_it(
    supervise: Supervise, script: Script, tmp_path: Path, until: Until
) -> None:
    process = supervise(
        script(
            "import subprocess, pathlib, time\n"
            "child = subprocess.Popen(['sleep', '60'])\n"
            "pathlib.Path('child').write_text(str(child.pid))\n"
            "time.sleep(60)"
        )
    )
    await until(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text())
    child = int((tmp_path / "child").read_text())
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    await until(lambda: not is_alive(child))


async def test_it_gets_variables_from_files_that_appear_late(
    supervise: Supervise, script: Script, tmp_path: Path, layout: Layout, until: Until
) -> None:
    (tmp_path / "anchors").write_text("the-anchors")
    spec = script("import os, time; print(os.environ['ANCHORS'], flush=True); time.sleep(60)")
    supervise(replace(spec, env_files={"ANCHORS": tmp_path / "anchors"}))
    log = layout.logs / "server.log"
    await until(lambda: log.exists() and "the-anchors" in log.read_text())


async def test_work_after_the_first_answer_delays_readiness_and_is_tried_again(
    supervise: Supervise, server_spec: ProcessSpec
) -> None:
    attempts: list[int] = []

    async def bootstrap() -> None:
        attempts.append(1)
        if len(attempts) < 2:
            raise ConnectionError("the database system is starting up")

    process = supervise(replace(server_spec, once_up=bootstrap))
    await soon(process.ready_once)
    assert len(attempts) == 2


def test_a_reused_process_id_is_somebody_else() -> None:
    mine = psutil.Process()
    assert same_process(mine.pid, mine.create_time()) is not None
    assert same_process(mine.pid, mine.create_time() - 100) is None
    assert same_process(None, None) is None
