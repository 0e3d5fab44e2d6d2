"""A new version of the code is deployed while runs wait: they go on where they were, by the new code.

The new version is a copy of the workflow service's code with one kind of node changed, which every process started from
then on finds first. What was done before stays done as it was; what comes after is done the new way.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Generator
from pathlib import Path

import crewmesh_workflow
import pytest
from crewmesh_testkit.mesh import JsonDict, MeshClient, MeshProcess
from crewmesh_testkit.polling import until
from crewmesh_testkit.receiver import Receiver

from tests.faults.workload import chain, deliver

RUNS = 100
MARK = "x-changed"
_SERVICE = Path(crewmesh_workflow.__file__).parents[2]
_CHANGE = f"""

def _changed(kind):
    import dataclasses

    def bind(node, read):
        effect = kind.bind(node, read)

        def render(scope):
            request = effect.render(scope)
            return {{**request, "headers": {{**request["headers"], "{MARK}": "yes"}}}}

        return dataclasses.replace(effect, render=render)

    return dataclasses.replace(kind, bind=bind)


KIND = _changed(KIND)
"""


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the new version will be."""
    return tmp_path_factory.mktemp("deployed") / "workflow"


@pytest.fixture(scope="module")
def own_mesh(tmp_path_factory: pytest.TempPathFactory, deployed: Path) -> Generator[MeshProcess]:
    process = MeshProcess(tmp_path_factory.mktemp("mesh"), environment={"PYTHONPATH": str(deployed / "src")})
    process.start()
    try:
        yield process
    finally:
        process.stop()


async def test_runs_that_wait_go_on_by_the_new_code(own_mesh: MeshProcess, deployed: Path) -> None:
    async with Receiver() as receiver, own_mesh.client() as client:
        workflow = await _save(client, receiver.url("/effects"))
        runs = [await _start(client, workflow, number) for number in range(RUNS)]
        asked = await until(lambda: _open(client, runs), seconds=240, every=0.5, what="all runs to wait")
        await _deploy(own_mesh, deployed)
        for approval in asked:
            answer = await client.post(f"/v1/approvals/{approval}/decisions", {"approved": True})
            assert answer.status < 300, answer.body
        await until(lambda: _all_completed(client, runs), seconds=240, every=0.5, what="all runs to end")

    assert {request.key: MARK in request.headers for request in receiver.requests} == {
        f"{run}/{node}": node == "after" for run in runs for node in ("before", "after")
    }
    assert set(receiver.counts_by_key().values()) == {1}
    assert "nondeterminis" not in own_mesh.log("workflow").lower()


async def _save(client: MeshClient, url: str) -> str:
    graph = {
        "nodes": [deliver("before", url), {"id": "ask", "kind": "approval", "title": "Go on?"}, deliver("after", url)],
        "edges": [*chain("before", "ask"), {"from": "ask", "port": "approved", "to": "after"}],
    }
    answer = await client.post("/v1/workflows", {"name": "Waits for a deployment", **graph})
    assert answer.status == 201, answer.body
    return str(answer.body["id"])


async def _start(client: MeshClient, workflow: str, number: int) -> str:
    answer = await client.post(f"/v1/workflows/{workflow}/runs", {"input": {"subject": number}})
    assert answer.status == 201, answer.body
    return str(answer.body["id"])


async def _open(client: MeshClient, runs: list[str]) -> list[str] | None:
    """The open approvals of the runs, once there is one of each."""
    listed: list[JsonDict] = (await client.read("/v1/approvals?status=open&limit=200"))["items"]
    found = [str(item["id"]) for item in listed if item["run"] in runs]
    return found if len(found) == len(runs) else None


async def _deploy(mesh: MeshProcess, folder: Path) -> None:
    for part in ("src", "migrations"):
        shutil.copytree(_SERVICE / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    node = folder / "src" / "crewmesh_workflow" / "nodes" / "http.py"
    node.write_text(node.read_text() + _CHANGE)
    before = mesh.status().process("workflow")
    assert before.pid is not None
    os.kill(before.pid, signal.SIGTERM)

    def started_again() -> bool:
        return mesh.status().process("workflow").pid not in (None, before.pid)

    await until(started_again, seconds=120, every=0.5, what="the new version to start")
    await mesh.until_ready()


async def _all_completed(client: MeshClient, runs: list[str]) -> bool:
    for run in runs:
        shown = await client.read(f"/v1/runs/{run}")
        assert shown["status"] != "failed", shown
        if shown["status"] != "completed":
            return False
    return True
