"""The process's one connection to Dapr Workflow: what serves both the bare workflows and the engine's drivers.

Two connections to one sidecar would each be given the other's work.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from typing import Protocol, cast

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.dapr.client import tell_sdk
from crewmesh_kit.settings import DaprSettings
from dapr.ext.workflow import WorkflowRuntime
from dapr.ext.workflow.aio import DaprWorkflowClient

# The SDK's loggers write a line per turn, which would cost the baseline a good part of its speed.
_CHATTY = ("WorkflowRuntime", "DaprWorkflowClient", "durabletask-worker", "durabletask-client")
_AT_A_TIME = 200


class Context(Protocol):
    """The part of a workflow's context that is used here."""

    def call_activity(self, activity: str, *, input: JsonObject) -> object: ...  # noqa: A002  Dapr's name for it


Workflow = Callable[[Context, JsonObject], Generator[object, object, object]]
Activity = Callable[[object, JsonObject], Awaitable[object]]


class Runtime(Protocol):
    """The part of the SDK's runtime that is used here, with its types."""

    def register_workflow(self, fn: Workflow, *, name: str) -> None: ...
    def register_activity(self, fn: Activity, *, name: str) -> None: ...
    def start(self) -> None: ...
    def shutdown(self) -> None: ...


class _Status(Protocol):
    @property
    def name(self) -> str: ...


class _State(Protocol):
    @property
    def runtime_status(self) -> _Status: ...


class Client(Protocol):
    async def schedule_new_workflow(self, workflow: str, *, input: JsonObject, instance_id: str) -> str: ...  # noqa: A002
    async def raise_workflow_event(self, instance_id: str, event_name: str, *, data: str | None) -> None: ...
    async def wait_for_workflow_completion(self, instance_id: str, *, timeout_in_seconds: int) -> _State | None: ...


def open_client(dapr: DaprSettings) -> Client:
    tell_sdk(dapr)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    return cast(Client, DaprWorkflowClient(host="127.0.0.1", port=str(dapr.grpc_port)))


@asynccontextmanager
async def running_worker(dapr: DaprSettings, *register: Callable[[Runtime], None]) -> AsyncGenerator[None]:
    tell_sdk(dapr)
    runtime = cast(
        Runtime,
        WorkflowRuntime(
            host="127.0.0.1",
            port=str(dapr.grpc_port),
            maximum_concurrent_activity_work_items=_AT_A_TIME,
            maximum_concurrent_orchestration_work_items=_AT_A_TIME,
            maximum_thread_pool_workers=4,
        ),
    )
    for each in register:
        each(runtime)
    await asyncio.to_thread(runtime.start)
    try:
        yield
    finally:
        await asyncio.to_thread(runtime.shutdown)
