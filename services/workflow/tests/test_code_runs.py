"""Code that agents wrote: run in the sandbox for whoever may, and for nobody else."""

from __future__ import annotations

import pytest
from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.invocations import RUN_CODE
from crewmesh_testkit.identities import identity

from services.workflow.tests.conftest import Running

CREW = identity(RUN_CODE.permission, subject="crun_" + "1" * 32)
# How long code takes is judged where it takes too long.
SLOWLY: JsonObject = {"timeout_seconds": 60}


async def test_without_permission(service: Running) -> None:
    answer = await service.post(RUN_CODE.path, identity("runs:write"), {"source": "1"})
    assert answer.status_code == 403


async def test_the_last_expression_is_the_result(service: Running) -> None:
    request: JsonObject = {"source": "print('x')\nsum(n)", "inputs": {"n": [1, 2]}, **SLOWLY}
    answer = await service.post(RUN_CODE.path, CREW, request)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"result": 3, "printed": "x\n"}


@pytest.mark.parametrize(
    ("request_", "slug"),
    [
        ({"source": "1 / 0", **SLOWLY}, "code-failed"),
        ({"source": "open('/etc/passwd')", **SLOWLY}, "code-failed"),
        ({"source": "while True: pass", "timeout_seconds": 0.2}, "code-timed-out"),
        ({"source": "1", "timeout_seconds": 600}, "validation-failed"),
        ({"source": "1", "network": True}, "validation-failed"),
    ],
)
async def test_what_does_not_work_says_why(service: Running, request_: JsonObject, slug: str) -> None:
    answer = await service.post(RUN_CODE.path, CREW, request_)
    assert answer.status_code == 422
    assert answer.json()["type"].endswith(f"/{slug}")
