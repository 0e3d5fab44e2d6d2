"""What crews remember for long: short texts by namespace, found by meaning, kept by the knowledge service."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, TypeAlias

from pydantic import Field, StringConstraints

from crewmesh_contracts.base import Contract, Reply
from crewmesh_contracts.invocations.base import Invocation

# Whose memories they are: crew:answer-desk.
Namespace: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[a-z]+(:[a-z0-9][a-z0-9_-]*)+$", max_length=200)]
MemoryId: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]+$", max_length=200)]


class Remembered(Contract):
    """``trusted``: nothing that strangers wrote went into it. Under an id that is known, it takes the other's place."""

    id: MemoryId
    text: Annotated[str, Field(min_length=1, max_length=4_000)]
    trusted: bool = False


class RememberRequest(Contract):
    """``keep``: so many of the namespace are kept; the oldest go."""

    namespace: Namespace
    memories: Annotated[tuple[Remembered, ...], Field(min_length=1, max_length=50)]
    keep: Annotated[int, Field(ge=1, le=10_000)] = 1_000


class RememberResult(Reply):
    """How many the namespace holds now."""

    held: int


class RecallRequest(Contract):
    """``least``: how near in meaning it must be, from 0 to 1."""

    namespaces: Annotated[tuple[Namespace, ...], Field(min_length=1, max_length=10)]
    query: Annotated[str, Field(min_length=1, max_length=4_000)]
    limit: Annotated[int, Field(ge=1, le=50)] = 5
    least: Annotated[float, Field(ge=0, le=1)] = 0.3


class Recalled(Reply):
    namespace: str
    id: str
    text: str
    trusted: bool
    at: datetime
    score: float


class RecallResult(Reply):
    memories: tuple[Recalled, ...]


class ForgetRequest(Contract):
    """Of the namespace, and of those below it: ``crew:c:p`` is below ``crew:c``. Without ``beginnings`` all, else those
    whose ids begin so."""

    namespace: Namespace
    beginnings: Annotated[tuple[MemoryId, ...], Field(max_length=1_000)] = ()


class ForgetResult(Reply):
    forgotten: int


REMEMBER = Invocation(
    app="knowledge",
    path="/internal/memories/remember",
    permission="memories:write",
    request=RememberRequest,
    result=RememberResult,
    callers=("agent-crew",),
    effect=False,
)
RECALL = Invocation(
    app="knowledge",
    path="/internal/memories/recall",
    permission="memories:read",
    request=RecallRequest,
    result=RecallResult,
    callers=("agent-crew",),
    effect=False,
)
FORGET = Invocation(
    app="knowledge",
    path="/internal/memories/forget",
    permission="memories:write",
    request=ForgetRequest,
    result=ForgetResult,
    callers=("agent-crew",),
    effect=False,
)
