"""Nothing lost, nothing twice, all terminal, whatever breaks. Few runs each; tests.faults.matrix has many.

A receiver counts requests per ``webhook-id``, which is the effect's idempotency key, so "once" is what the other side
of the wire saw and not what our own tables say.
"""

from __future__ import annotations

import pytest
from crewmesh_testkit.mesh import MeshProcess

from tests.faults.trial import SEED, run_trial

RUNS = 42


@pytest.mark.parametrize(
    "fault",
    [
        "kill workflow",
        "kill workflow-dapr",
        "kill integration",
        "kill integration-dapr",
        "kill gateway",
        "kill scheduler",
        "kill placement",
        "kill postgres",
        "kill valkey",
        "freeze workflow",
        "wipe scheduler",
        "full disk",
    ],
)
async def test_a_fault_loses_nothing_and_repeats_nothing(mesh: MeshProcess, fault: str) -> None:
    await mesh.until_ready()
    report = await run_trial(mesh, fault, seed=SEED, runs=RUNS)
    print(report)
    assert report.violations == ()
