"""The baseline: five activities in a row as a bare Dapr workflow, written as its documentation shows."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from typing import Protocol, cast

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.dapr.client import tell_sdk
from crewmesh_kit.ids import new_id
from crewmesh_kit.settings import DaprSettings
from dapr.ext.workflow import WorkflowRuntime
from dapr.ext.workflow.aio import DaprWorkflowClient

EFFECTS = 5
# What every effect answers, on both sides.
ONE_RESULT: JsonObject = {"status": 200, "headers": {"content-type": "application/json"}, "body": {"ok": True}}
_LONGEST_RUN_SECONDS = 60
# The SDK's loggers write a line per turn, which would cost the baseline a good part of its speed.
_CHATTY = ("WorkflowRuntime", "DaprWorkflowClient", "durabletask-worker", "durabletask-client")


class _Context(Protocol):
    def call_activity(self, activity: str, *, input: JsonObject) -> object: ...  # noqa: A002  Dapr's name for it


class _Runtime(Protocol):
    """The part of the SDK that is used here, with its types."""

    def register_workflow(self, fn: Callable[[_Context, JsonObject], object], *, name: str) -> None: ...
    def register_activity(self, fn: Callable[[object, JsonObject], Awaitable[JsonObject]], *, name: str) -> None: ...
    def start(self) -> None: ...
    def shutdown(self) -> None: ...


class _Status(Protocol):
    @property
    def name(self) -> str: ...


class _State(Protocol):
    @property
    def runtime_status(self) -> _Status: ...


class _Client(Protocol):
    async def schedule_new_workflow(self, workflow: str, *, input: JsonObject, instance_id: str) -> str: ...  # noqa: A002
    async def wait_for_workflow_completion(self, instance_id: str, *, timeout_in_seconds: int) -> _State | None: ...


def five_activities(ctx: _Context, given: JsonObject) -> Generator[object, JsonObject, JsonObject]:
    result: JsonObject = {}
    for number in range(EFFECTS):
        result = yield ctx.call_activity("effect", input={**given, "number": number, "before": result.get("status")})
    return {"last": result["status"]}


async def effect(_context: object, _given: JsonObject) -> JsonObject:
    return dict(ONE_RESULT)


class ChainSide:
    def __init__(self, client: _Client) -> None:
        self._client = client

    async def one_run(self) -> None:
        """From asking for the workflow to knowing its end."""
        instance = await self._client.schedule_new_workflow(
            "five_activities", input={"subject": "bench"}, instance_id=new_id("run")
        )
        state = await self._client.wait_for_workflow_completion(instance, timeout_in_seconds=_LONGEST_RUN_SECONDS)
        if state is None or state.runtime_status.name != "COMPLETED":
            raise RuntimeError(f"the bare chain {instance} did not complete")


@asynccontextmanager
async def open_chain(dapr: DaprSettings) -> AsyncGenerator[ChainSide]:
    tell_sdk(dapr)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    port = str(dapr.grpc_port)
    runtime = cast(
        _Runtime,
        WorkflowRuntime(
            host="127.0.0.1",
            port=port,
            maximum_concurrent_activity_work_items=200,
            maximum_concurrent_orchestration_work_items=200,
            maximum_thread_pool_workers=4,
        ),
    )
    runtime.register_workflow(five_activities, name="five_activities")
    runtime.register_activity(effect, name="effect")
    await asyncio.to_thread(runtime.start)
    client = cast(_Client, DaprWorkflowClient(host="127.0.0.1", port=port))
    try:
        yield ChainSide(client)
    finally:
        await asyncio.to_thread(runtime.shutdown)
