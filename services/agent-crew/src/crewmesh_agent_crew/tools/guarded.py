"""The toolbox of one turn: every use is looked up, checked, allowed, done once, written down and shown guarded.

The journal comes first. A turn that is played again after a crash finds what its tools gave, and neither policies nor
people are asked a second time about what has been done.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.db.database import Database, persistently
from crewmesh_kit.db.storable import clean, clean_text
from crewmesh_kit.errors import Problem
from crewmesh_kit.telemetry import span
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_agent_crew.agents.models import AgentDefinition
from crewmesh_agent_crew.guardrails.guard import Guard
from crewmesh_agent_crew.guardrails.rules import Rules
from crewmesh_agent_crew.guardrails.speech import Ear, Speech
from crewmesh_agent_crew.guardrails.taint import Taint
from crewmesh_agent_crew.guardrails.texts import cut
from crewmesh_agent_crew.models.calls import ToolSpec
from crewmesh_agent_crew.tools import words
from crewmesh_agent_crew.tools.approvals import Agreed, Approvals, RejectedError, Wanted
from crewmesh_agent_crew.tools.kinds.base import Caller, WhyNot
from crewmesh_agent_crew.tools.metrics import TOOL_SECONDS, TOOL_USES
from crewmesh_agent_crew.tools.repository import Kept, ToolUseRepository
from crewmesh_agent_crew.tools.tool import AnyTool
from crewmesh_agent_crew.tools.toolbox import Source
from crewmesh_agent_crew.tools.work import Status, ToolUse, WorkContext, key_of

_LONGEST_ARGUMENTS, _DEEPEST_ARGUMENTS = 200_000, 50
_LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class Means:
    """What every toolbox of the service works with. ``most_characters``: of one result, for the model."""

    database: Database
    sidecar: Sidecar
    why_not: WhyNot
    most_characters: int


@dataclass(frozen=True, slots=True)
class _Outcome:
    status: Status
    text: str
    arguments: JsonObject
    question: str | None = None


@dataclass(slots=True)
class Ruling:
    """``began``: what held when the turn began; from it follows what the model is shown, however often it is played.

    ``holds``: that, and what policies have come to say since; from it follows what may be done. ``now`` asks for them.
    """

    began: Rules
    holds: Rules
    now: Callable[[AsyncConnection[DictRow]], Awaitable[Rules]]

    async def renew(self, connection: AsyncConnection[DictRow]) -> None:
        self.holds = self.began.and_(await self.now(connection))


class GuardedToolbox:
    """``known``: what the run is known to have seen, should this process end now."""

    def __init__(
        self, means: Means, work: WorkContext, ruling: Ruling, guard: Guard, known: Taint, tools: dict[str, AnyTool]
    ) -> None:
        self._means = means
        self._work = work
        self._ruling = ruling
        self._guard = guard
        self._known = known
        self._tools = tools
        self._offered = [tool for tool in tools.values() if _forbidding(ruling.began, tool) is None]
        self._caller = Caller(means.sidecar, work.identity)
        guard.taint.add(untrusted=any(tool.described_by_strangers for tool in self._offered))
        # One at a time: what the second may do depends on what the first has given.
        self._turn = asyncio.Lock()

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """What the model is shown, always in the order of the definition; what a policy forbids is not among it."""
        return tuple(tool.spec for tool in self._offered)

    @property
    def agent(self) -> AgentDefinition:
        """The agent as the organization's policies let it be: its guardrails and limits are the strictest of both."""
        return self._ruling.began.governed()

    def forbidden_model(self, *names: str) -> Problem | None:
        """What is told when the agent may not think with a model that goes by one of these names."""
        return self._ruling.holds.forbidden_model(*names)

    @property
    def untrusted(self) -> bool:
        """Whether the run has read words of strangers by now."""
        return self._guard.taint.untrusted

    def aloud(self, ear: Ear) -> Speech | None:
        """Where whoever watches hears the model while it speaks, as its final word will have it; none: nowhere."""
        return self._guard.aloud(ear)

    @property
    def _name(self) -> str:
        return self._ruling.began.agent.name

    def shown(self, text: str, source: Source) -> str:
        return self._guard.shown(text, source)

    async def said(self, text: str) -> str:
        said = self._guard.said(text)
        if self._known != self._guard.taint:
            async with self._means.database.tenant(self._work.organization) as connection:
                await self._keep_taint(ToolUseRepository(connection))
        return said

    async def use(self, name: str, arguments: JsonObject, *, key: str) -> str:
        name, asked = clean_text(name)[:_LONGEST_NAME], clean(arguments, deepest=_DEEPEST_ARGUMENTS)
        whole = key_of(self._work.place, key, name, asked)
        async with self._turn:
            kept = await self._kept(whole)
            if kept is None:
                kept = await self._use(name, asked, whole)
            shown = self._shown(name, kept, whole)
        return shown if kept.arguments == asked else f"{shown}\n{words.edited(name)}"

    async def _kept(self, key: str) -> Kept | None:
        """What the use gave before. What policies say of it is asked when it has not been done."""
        async with self._means.database.tenant(self._work.organization) as connection:
            kept = await ToolUseRepository(connection).find(self._work.organization, key)
            if kept is None:
                await self._ruling.renew(connection)
        return kept

    async def _use(self, name: str, arguments: JsonObject, key: str) -> Kept:
        tool = self._tools.get(name)
        kind = "unknown" if tool is None else tool.kind
        began = time.monotonic()
        with span(
            f"execute_tool {name}",
            **{
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": name,
                "gen_ai.tool.type": "datastore" if kind == "knowledge" else "function",
                "gen_ai.tool.call.id": key,
                "gen_ai.agent.name": self._name,
                "crewmesh.tool.kind": kind,
            },
        ) as current:
            outcome = await self._outcome(name, tool, arguments, key)
            current.set_attribute("crewmesh.tool.outcome", outcome.status)
        TOOL_USES.labels(kind, outcome.status).inc()
        TOOL_SECONDS.labels(kind).observe(time.monotonic() - began)
        return await self._keep(name, outcome, key)

    async def _outcome(self, name: str, tool: AnyTool | None, arguments: JsonObject, key: str) -> _Outcome:
        if tool is None:
            return _Outcome("invalid", words.unknown(name, [spec.name for spec in self.specs]), arguments)
        if (policy := _forbidding(self._ruling.holds, tool)) is not None:
            return _Outcome("forbidden", words.forbidden(name, policy), arguments)
        if (mistake := await self._mistake(tool, arguments)) is not None:
            return _Outcome("invalid", mistake, arguments)
        try:
            approvals = Approvals(self._ruling.holds, self._work)
            agreed = approvals.agreed(Wanted(tool, arguments, key), self._guard.taint)
        except RejectedError as rejection:
            return _Outcome("rejected", words.rejected(name), arguments, rejection.question)
        chosen = await self._chosen(agreed)
        if chosen is not None and (mistake := await self._mistake(tool, chosen)) is not None:
            return _Outcome("invalid", mistake, chosen, agreed.question)
        return await self._done(tool, arguments if chosen is None else chosen, key, agreed.question)

    async def _chosen(self, agreed: Agreed) -> JsonObject | None:
        """What a person wrote in place of the model's arguments. Said of the tool, it holds for the first use alone."""
        if agreed.arguments is None or agreed.question is None:
            return None
        if agreed.blanket:
            async with self._means.database.tenant(self._work.organization) as connection:
                if await ToolUseRepository(connection).was_used_after(
                    self._work.organization, self._work.crew_run, agreed.question
                ):
                    return None
        return clean(agreed.arguments, deepest=_DEEPEST_ARGUMENTS)

    async def _mistake(self, tool: AnyTool, arguments: JsonObject) -> str | None:
        name = tool.grant.name
        if len(json.dumps(arguments)) > _LONGEST_ARGUMENTS:
            return words.too_long(name, _LONGEST_ARGUMENTS)
        wrong = await tool.why_not(arguments, self._means.why_not)
        return None if wrong is None else words.invalid(name, wrong)

    async def _done(self, tool: AnyTool, arguments: JsonObject, key: str, question: str | None) -> _Outcome:
        try:
            gave = await tool.run(self._caller, arguments, key)
        except Problem as problem:
            said = problem.extensions.get("upstream_said")
            why = problem.detail if not isinstance(said, str) or not said else f"{problem.detail}\nIt said: {said}"
            return _Outcome("failed", words.failed(tool.grant.name, why), arguments, question)
        return _Outcome("done" if gave.ok else "failed", gave.text, arguments, question)

    async def _keep(self, name: str, outcome: _Outcome, key: str) -> Kept:
        """What happened outside must be written, with what is told of it, also when the database is away for a moment.

        A twin of this turn, in a process that was thought dead, may have been first: then its word counts.
        """
        work, agent = self._work, self._name
        result = clean_text(cut(outcome.text, 2 * self._means.most_characters))
        kept = Kept(outcome.status, result, outcome.arguments)
        use = ToolUse(key, agent, name, outcome.arguments, outcome.status, self._shown(name, kept, key))

        async def write() -> Kept:
            async with self._means.database.tenant(work.organization) as connection:
                uses = ToolUseRepository(connection)
                if await uses.add(work.organization, work.crew_run, use, result, outcome.question):
                    await self._keep_taint(uses)
                    await work.record(connection, use)
                    return kept
                return await uses.find(work.organization, key) or kept

        return await persistently(write)

    async def _keep_taint(self, uses: ToolUseRepository) -> None:
        if self._known != self._guard.taint:
            await uses.keep_taint(self._work.organization, self._work.crew_run, self._guard.taint)

    def _shown(self, name: str, kept: Kept, key: str) -> str:
        if kept.status not in ("done", "failed"):
            return kept.result
        tool = self._tools.get(name)
        if tool is not None:
            self._guard.taint.add(untrusted=tool.untrusted, private=tool.private)
        return self._guard.given(kept.result, key)


def _forbidding(rules: Rules, tool: AnyTool) -> str | None:
    return rules.forbidding(kind=tool.kind, outward=tool.may_reach_out, name=tool.grant.name)
