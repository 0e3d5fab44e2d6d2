"""Doing something in another product through a connection, by the integration service."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from crewmesh_contracts.base import Contract, JsonValue, Reply
from crewmesh_contracts.ids import Slug
from crewmesh_contracts.invocations.base import Invocation


class ActionRequest(Contract):
    connection: Slug
    action: Annotated[str, Field(min_length=3, max_length=129)]
    inputs: dict[str, JsonValue] = {}
    timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 60.0


class ActionResult(Reply):
    result: JsonValue


RUN_ACTION = Invocation(
    app="integration",
    path="/internal/actions",
    permission="actions:run",
    request=ActionRequest,
    result=ActionResult,
    callers=("workflow", "agent-crew"),
    effect=True,
)
