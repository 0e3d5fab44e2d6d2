"""Asking Dapr to drive a run. The instance's id names the run and the driver's number, and is never used twice."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol, cast

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.dapr.client import tell_sdk
from crewmesh_kit.dapr.worker import sdk_logging
from crewmesh_kit.resources import Resources
from crewmesh_kit.settings import ServiceSettings
from dapr.ext.workflow.aio import DaprWorkflowClient

from crewmesh_workflow.engine.driver import DRIVE_RUN
from crewmesh_workflow.engine.outcome import LEAVE, DriveInput
from crewmesh_workflow.engine.sweeper import Raise, Schedule

_LONGEST_UNBEGUN = timedelta(minutes=10)


class DriverClient(Protocol):
    """The part of Dapr's client that is used here, with its types."""

    async def schedule_new_workflow(
        self,
        workflow: str,
        *,
        input: JsonObject,  # noqa: A002
        instance_id: str,
        start_at: datetime,
    ) -> str: ...

    async def raise_workflow_event(self, instance_id: str, event_name: str, *, data: str | None) -> None: ...


@dataclass(frozen=True, slots=True)
class Driving:
    """What runs that are due are given to, and what wakes those who sleep on behalf of runs."""

    schedule: Schedule
    raise_event: Raise


@asynccontextmanager
async def open_driving(resources: Resources) -> AsyncGenerator[Driving]:
    dapr = resources.get(ServiceSettings).dapr
    tell_sdk(dapr)
    # The SDK's client cannot be closed; its channel ends with the process.
    yield driving(cast(DriverClient, DaprWorkflowClient("127.0.0.1", str(dapr.grpc_port), sdk_logging())))


def driving(client: DriverClient) -> Driving:
    async def schedule(drive: DriveInput) -> None:
        await client.schedule_new_workflow(
            DRIVE_RUN, input=drive.as_json(), instance_id=f"{drive.run}-{drive.driver}", start_at=_first_turn(drive)
        )

    async def raise_event(instance: str, event: str, leave: bool) -> None:
        await client.raise_workflow_event(instance, event, data=LEAVE if leave else None)

    return Driving(schedule, raise_event)


def _first_turn(drive: DriveInput) -> datetime:
    """An instance is durable before its first turn; without a time the sidecar would wait for that turn.

    One that begins by waiting for nothing but its event begins when that is raised. Should it not be for long, it has a
    turn in between, so that what is left of those that were woken is gone by then.
    """
    only_its_event = drive.sleep is not None and drive.sleep.seconds is None
    return datetime.now(UTC) + (_LONGEST_UNBEGUN if only_its_event else timedelta())
