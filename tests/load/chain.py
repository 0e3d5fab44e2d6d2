"""The baselines: bare Dapr workflows, written as its documentation shows. Five activities in a row, and a fan-out."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import cast

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.ids import new_id
from crewmesh_kit.settings import DaprSettings
from dapr.ext.workflow import when_all

from tests.load.worker import Client, Context, Runtime, open_client

EFFECTS = 5
FAN_OUT = 200
# More of them in one turn endanger the whole stream.
_FAN_OUT_PER_TURN = 50
# What every effect answers, on every side.
ONE_RESULT: JsonObject = {"status": 200, "headers": {"content-type": "application/json"}, "body": {"ok": True}}
_LONGEST_RUN_SECONDS = 60


def five_activities(ctx: Context, given: JsonObject) -> Generator[object, object, JsonObject]:
    result: JsonObject = {}
    for number in range(EFFECTS):
        request: JsonObject = {**given, "number": number, "before": result.get("status")}
        result = cast(JsonObject, (yield ctx.call_activity("effect", input=request)))
    return {"last": result["status"]}


def fan_out(ctx: Context, given: JsonObject) -> Generator[object, object, JsonObject]:
    done = 0
    for first in range(0, FAN_OUT, _FAN_OUT_PER_TURN):
        batch = range(first, first + _FAN_OUT_PER_TURN)
        tasks = [ctx.call_activity("effect", input={**given, "number": number}) for number in batch]
        done += len(cast("Sequence[object]", (yield _all(tasks))))
    return {"count": done}


def _all(tasks: list[object]) -> object:
    return when_all(tasks)  # pyright: ignore[reportArgumentType, reportUnknownVariableType]  the SDK's own task type


async def effect(_context: object, _given: JsonObject) -> JsonObject:
    return dict(ONE_RESULT)


def register(runtime: Runtime) -> None:
    runtime.register_workflow(five_activities, name="five_activities")
    runtime.register_workflow(fan_out, name="fan_out")
    runtime.register_activity(effect, name="effect")


class ChainSide:
    """From asking for a workflow to knowing its end."""

    def __init__(self, dapr: DaprSettings) -> None:
        self._client: Client = open_client(dapr)

    async def five(self) -> None:
        await self._one("five_activities")

    async def fan_out(self) -> None:
        await self._one("fan_out")

    async def _one(self, workflow: str) -> None:
        instance = await self._client.schedule_new_workflow(
            workflow, input={"subject": "bench"}, instance_id=new_id("run")
        )
        state = await self._client.wait_for_workflow_completion(instance, timeout_in_seconds=_LONGEST_RUN_SECONDS)
        if state is None or state.runtime_status.name != "COMPLETED":
            raise RuntimeError(f"the bare {workflow} {instance} did not complete")
