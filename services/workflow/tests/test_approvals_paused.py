"""Questions of runs that are paused: what is over is not waited for, though the run hears of it only later."""

from __future__ import annotations

import pytest
from crewmesh_contracts.base import JsonObject

from services.workflow.tests.approvals import ANN, OWNER
from services.workflow.tests.conftest import Running
from services.workflow.tests.test_approvals_runs import ASK, YES, Office


async def waited_for(service: Running, run: str) -> list[JsonObject | None]:
    """As the run says, and as its step does."""
    found = (await service.get(f"/v1/runs/{run}", OWNER)).json()["waiting_for"]
    return [*found, (await service.get(f"/v1/runs/{run}/steps/ask", OWNER)).json()["waiting_for"]]


@pytest.mark.parametrize("over", ["decided", "expired"])
async def test_what_is_over_is_not_waited_for(service: Running, over: str) -> None:
    office = Office(service)
    run = await office.begin([{**ASK, "expires_seconds": 3600}])
    question = await office.asked(run)
    assert (await service.post(f"/v1/runs/{run}/pause", OWNER, {})).status_code < 300
    await service.until(run, "paused", OWNER)
    assert [wait and wait["id"] for wait in await waited_for(service, run)] == [question["id"]] * 2
    if over == "decided":
        await office.decide(question, ANN, YES)
    else:
        await office.execute("UPDATE waits SET until = now() WHERE run_id = %s", run)
    assert await waited_for(service, run) == [None]
    refused = await service.post(f"/v1/approvals/{question['id']}/decisions", ANN, {"approved": False})
    assert (refused.status_code, refused.json()["approval_status"]) == (409, over)
    assert "has gone on" not in refused.json()["detail"]
