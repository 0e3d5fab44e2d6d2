"""The piece of work in which an agent uses tools: in whose name, under which keys, and whom it tells."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.invocations import CALL_MCP_TOOL, RUN_ACTION, RUN_CODE, SEARCH, SEND_HTTP, Verdict
from crewmesh_kit.identity import Identity
from psycopg import AsyncConnection
from psycopg.rows import DictRow

PERMISSIONS = frozenset(call.permission for call in (SEARCH, SEND_HTTP, RUN_ACTION, RUN_CODE, CALL_MCP_TOOL))
_LONGEST_KEY = 200

Status: TypeAlias = Literal["done", "failed", "invalid", "rejected", "forbidden"]


@dataclass(frozen=True, slots=True)
class ToolUse:
    """One use of a tool, as the record of the run keeps it. ``text``: what the model was shown.

    ``key`` is the same after every crash; a use that is found in the journal is not told again.
    """

    key: str
    agent: str
    tool: str
    arguments: JsonObject
    status: Status
    text: str


# In the transaction that keeps the use: what it writes is there if and only if the use is. What it raises undoes both.
Record: TypeAlias = Callable[[AsyncConnection[DictRow], ToolUse], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkContext:
    """``place``: crew run and turn, ``crun_…/task/agent/1``; what is done there is found again by it.

    ``verdict``: what people said to a question, by its id. ``untrusted``: what the run was asked to do holds words of
    strangers, as when a workflow hands an incoming mail to it. ``tags``: the crew's; the agent's come on top.
    ``wary``: some agent of the run may read words of strangers, so that they may be in the words of any. That is known
    from the definition: whether one has by now is something else when the turn is played again.
    """

    identity: Identity
    crew_run: str
    place: str
    verdict: Callable[[str], Verdict | None]
    record: Record
    tags: frozenset[str] = frozenset()
    untrusted: bool = False
    wary: bool = False

    @property
    def organization(self) -> str:
        return self.identity.organization


def acting_as(organization: str, crew_run: str, group: str | None) -> Identity:
    """In whose name a run's tools ask: its crew's (``crew:crew_…``) or agent's, never that of whoever started it."""
    groups = frozenset({group}) if group else frozenset[str]()
    return Identity(organization, crew_run, PERMISSIONS, groups)


def key_of(place: str, use: str, tool: str, arguments: JsonObject) -> str:
    """The key of one use, for the journal and for the far side: the same use of the same turn, and no other.

    What is used is part of it. An answer of a model that was lost is asked for anew, and may want something else.
    """
    what = json.dumps([tool, arguments], sort_keys=True, ensure_ascii=True)
    plain = f"{place}/{use}-{_digest(what)[:12]}"
    if len(plain) <= _LONGEST_KEY and plain.isascii() and plain.isprintable():
        return plain
    return f"use-{_digest(plain)}"


def question_id(*parts: str) -> str:
    return f"que_{_digest(json.dumps(parts))[:32]}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
