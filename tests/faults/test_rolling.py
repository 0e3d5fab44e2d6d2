"""Replicas go under load, told to or not, and callers do not notice. A few of each; rolling.py and availability.py
have many.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest
from crewmesh_testkit.mesh import MeshProcess
from crewmesh_tools.mesh.apps import sidecar_name

from tests.faults import availability, rolling
from tests.faults.rolling_cluster import Cluster
from tests.faults.rolling_trial import run_trial, two_replicas

# So low that a busy machine carries it with half of the replicas.
RATE = 2
# One replica of each service; the other one of each is killed later.
RESTARTED = ("gateway", "workflow-2", "agent-crew", "integration-2", "knowledge")
KILLED = ("gateway-2", "workflow", "agent-crew-2", "integration", "knowledge-2")
# What may be in the hands of a process that dies.
LOST_BY_A_KILL = 3


@pytest.fixture(scope="module")
def replicated(tmp_path_factory: pytest.TempPathFactory) -> Generator[MeshProcess]:
    with two_replicas(tmp_path_factory.mktemp("mesh")) as mesh:
        yield mesh


async def test_nobody_notices_a_rollout(replicated: MeshProcess) -> None:
    async def disturb(cluster: Cluster) -> int:
        await cluster.restart(*RESTARTED)
        return len(RESTARTED)

    report = await run_trial(replicated, disturb, quiet_seconds=5, rate=RATE)
    print(report)
    assert rolling.violations(report) == [], report


async def test_a_killed_replica_costs_what_it_had_in_hand(replicated: MeshProcess) -> None:
    async def disturb(cluster: Cluster) -> int:
        for name in KILLED:
            await availability.kill(cluster, (name, sidecar_name(name)))
        return len(KILLED)

    report = await run_trial(replicated, disturb, quiet_seconds=5, rate=RATE)
    print(report)
    assert availability.violations(report) == [], report
    assert len(report.failed) <= LOST_BY_A_KILL * len(KILLED), report
