"""What an organization owns in the services that keep something of it: exported page by page, kept for so many days."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated

from pydantic import Field

from crewmesh_contracts.base import Contract, JsonObject, Reply
from crewmesh_contracts.invocations.base import Invocation

# The gateway asks itself without a call.
KEEPERS = ("workflow", "agent-crew", "integration", "knowledge")


class ExportRequest(Contract):
    """The page behind ``cursor``, which is what the page before said; none for the first."""

    cursor: Annotated[str, Field(max_length=4_000)] | None = None


class ExportedRow(Reply):
    table: str
    row: JsonObject


class ExportPage(Reply):
    """Rows as they are stored, secrets masked. ``cursor`` is none on the last page."""

    rows: tuple[ExportedRow, ...]
    cursor: str | None


class RetentionQuestion(Contract):
    """How much would be forgotten now, if data of this kind were kept for so many days."""

    kind: str
    days: Annotated[int, Field(ge=1, le=36_500)]


class RetentionAnswer(Reply):
    count: int


EXPORT: Mapping[str, Invocation[ExportRequest, ExportPage]] = MappingProxyType(
    {
        app: Invocation(
            app=app,
            path="/internal/owned-data/export",
            permission="data:write",
            request=ExportRequest,
            result=ExportPage,
            callers=("gateway",),
            effect=False,
        )
        for app in KEEPERS
    }
)
WOULD_FORGET: Mapping[str, Invocation[RetentionQuestion, RetentionAnswer]] = MappingProxyType(
    {
        app: Invocation(
            app=app,
            path="/internal/owned-data/would-forget",
            permission="data:read",
            request=RetentionQuestion,
            result=RetentionAnswer,
            callers=("gateway",),
            effect=False,
        )
        for app in KEEPERS
    }
)


@dataclass(frozen=True, slots=True)
class RetentionKind:
    """A kind of data that an organization may have forgotten sooner than it would be."""

    name: str
    app: str
    about: str
    # What must be kept for a while all the same, so that nothing that is still under way is lost.
    least_days: int


RETENTION_KINDS: Mapping[str, RetentionKind] = MappingProxyType(
    {
        each.name: each
        for each in (
            RetentionKind("runs", "workflow", "Runs that have ended, with their steps, logs and decisions.", 1),
            RetentionKind("crew-runs", "agent-crew", "Crew runs that have ended, with every word and decision.", 1),
            RetentionKind("conversations", "agent-crew", "What people said to agents, and what those answered.", 1),
            RetentionKind("memories", "knowledge", "What crews remember of their work for later.", 1),
            RetentionKind("model-calls", "agent-crew", "Which models were asked by whom, and what it cost.", 40),
            RetentionKind("model-replies", "agent-crew", "What models answered, for crews that begin anew.", 1),
            RetentionKind("deliveries", "integration", "What was sent to the world: address, outcome, duration.", 1),
        )
    }
)
