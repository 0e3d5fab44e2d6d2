"""The drill: a backup is made under load, then everything is lost, and the backup is put back on an empty disk.

Every run that was acknowledged before the backup began ends right, also those that wait for a person or for a timer of
Dapr's, of which nothing is put back. What was done before that moment is not done again; what was done after it is
unknown to the restored mesh and may be done once more, with the key it was done with before.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from random import Random

import psutil
import pytest
from crewmesh_testkit.mesh import JsonDict, MeshClient, MeshProcess
from crewmesh_testkit.polling import until

from tests.faults.trial import SEED, expected_effects, until_all_ended
from tests.faults.workload import Shape, Started, Workload, chain, deliver
from tests.faults.world import World, deciding, now

BEFORE = 48
STARTERS = 6
# Longer than a backup takes: the timer is set in the mesh that is lost and rings in the one that is restored.
SLEEP_SECONDS = 60
PASSPHRASE = "a drill, not a secret"


@pytest.fixture
def own_mesh(tmp_path: Path) -> Generator[MeshProcess]:
    process = MeshProcess(tmp_path / "mesh")
    process.home.mkdir()
    process.start()
    try:
        yield process
    finally:
        process.stop()


async def test_a_backup_under_load_brings_everything_acknowledged_back(own_mesh: MeshProcess, tmp_path: Path) -> None:
    world = World(Random(SEED))
    async with world.receiver, own_mesh.client() as client:
        workload = Workload(client, url=world.receiver.url("/effects"), tag=f"{SEED:x}")
        workload.shapes += (_sleeping(world.receiver.url("/effects")),)
        await workload.install()
        budget = await _spend_plan(client)
        async with _under_load(workload) as started:
            await until(lambda: len(started) >= BEFORE, seconds=240, every=0.01, what="runs to be acknowledged")
            kept = list(started)
            done = await _shown_as_done(client, world)
            archive = await asyncio.to_thread(_back_up, own_mesh, tmp_path / "backups")
            more = len(started) + 5
            await until(lambda: len(started) >= more, seconds=240, what="runs after the backup")
        await asyncio.to_thread(_lose_everything, own_mesh)
        await asyncio.to_thread(_restore, own_mesh, archive)
        await asyncio.to_thread(own_mesh.start)
        restored = now()
        waiting = await _not_ended(client, kept)
        async with deciding(client, world, {each.run for each in kept}):
            ends = await until_all_ended(own_mesh, client, [each.run for each in kept])
        print(f"{len(waiting)} of {len(kept)} runs ended within {now() - restored:.1f} s of the start (seed {SEED})")
        assert await _shown(client, budget) == budget
    assert {each.shape.name for each in waiting} >= {"approved"}
    assert _violations(kept, ends, world, done) == []


def _sleeping(url: str) -> Shape:
    wait = {"id": "wait", "kind": "delay", "seconds": SLEEP_SECONDS}
    nodes = [deliver("before", url), wait, deliver("after", url)]
    return Shape("sleeping", {"nodes": nodes, "edges": chain("before", "wait", "after")}, ("before", "after"))


@asynccontextmanager
async def _under_load(workload: Workload) -> AsyncGenerator[list[Started]]:
    """Several who start one run after the other. Nobody decides anything yet, so what asks a person is left waiting."""
    numbers, started = count(), list[Started]()

    async def keep_starting() -> None:
        for number in numbers:
            started.append(await workload.start(number))

    tasks = [asyncio.create_task(keep_starting()) for _ in range(STARTERS)]
    try:
        yield started
        failed = [task for task in tasks if task.done()]
        assert not failed, failed
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _not_ended(client: MeshClient, started: Sequence[Started]) -> list[Started]:
    shown = [(await client.read(f"/v1/runs/{each.run}"))["status"] for each in started]
    return [each for each, status in zip(started, shown, strict=True) if status not in ("completed", "failed")]


async def _shown_as_done(client: MeshClient, world: World) -> set[str]:
    """Effects that the journal knows of, of the runs of which one has come; a backup that begins now knows them."""
    turnstile = asyncio.Semaphore(STARTERS)

    async def of(run: str) -> set[str]:
        async with turnstile:
            steps = await client.read(f"/v1/runs/{run}/steps?status=completed&limit=200")
        return {f"{run}/{step['path']}" for step in steps["items"]}

    runs = {effect.partition("/")[0] for effect in world.counts()}
    return set[str]().union(*await asyncio.gather(*map(of, runs)))


async def _spend_plan(client: MeshClient) -> JsonDict:
    """A budget that was topped up: money is in more tables than one."""
    plan = {"name": "Drill", "scope": {"kind": "organization"}, "period": "month", "limit": "200.5", "at_100": "wait"}
    made = await client.post("/v1/budgets", plan)
    assert made.status == 201, made.body
    topped_up = await client.post(f"/v1/budgets/{made.body['id']}/top-ups", {"amount": "12.25", "reason": "Drill"})
    assert topped_up.status == 201, topped_up.body
    return await _shown(client, made.body)


async def _shown(client: MeshClient, budget: JsonDict) -> JsonDict:
    return await client.read(f"/v1/budgets/{budget['id']}")


def _back_up(mesh: MeshProcess, folder: Path) -> Path:
    _tool("create", mesh, "--to", str(folder))
    (archive,) = folder.glob("*.tar")
    metrics = (mesh.layout.state / "metrics" / "backup.prom").read_text()
    assert "crewmesh_backup_last_success_timestamp_seconds" in metrics
    return archive


def _restore(mesh: MeshProcess, archive: Path) -> None:
    _tool("restore", mesh, str(archive))


def _tool(verb: str, mesh: MeshProcess, *arguments: str) -> None:
    place = ["--home", str(mesh.home), "--port-offset", str(mesh.layout.offset)]
    done = subprocess.run(
        [sys.executable, "-m", "crewmesh_tools.backup", verb, *place, *arguments],
        env={**os.environ, "CREWMESH_BACKUP_PASSPHRASE": PASSPHRASE},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr


def _lose_everything(mesh: MeshProcess) -> None:
    """Every process at once, and the disk."""
    status = mesh.status()
    supervisor = psutil.Process(status.supervisor_pid)
    supervisor.suspend()  # it starts nobody meanwhile
    # With those that they have started themselves: a database's are sessions of their own.
    processes = [supervisor, *supervisor.children(recursive=True)]
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # the kernel ends them when their supervisor is gone
            process.kill()
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert not alive
    shutil.rmtree(mesh.layout.state)


def _violations(kept: Sequence[Started], ends: dict[str, JsonDict], world: World, done: set[str]) -> list[str]:
    came = world.counts()
    found: list[str] = []
    for each in kept:
        shown = ends[each.run]
        if shown["status"] != "completed":
            found.append(f"{each.shape.name} {each.run} is {shown['status']}: {shown.get('error')}")
        for effect in sorted(expected_effects(each, shown)):
            if not came[effect]:
                found.append(f"{effect} is shown as done and never came")
            elif came[effect] > 1 and effect in done:
                found.append(f"{effect} came {came[effect]} times, although the backup knew of it")
    return found
