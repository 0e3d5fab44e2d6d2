"""One turn of an agent at work: its questions to models, numbered and charged; its tools; what it used so far."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.events import AgentActivity
from crewmesh_contracts.invocations import Verdict
from crewmesh_kit.errors import Problem
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_agent_crew.budgets.errors import BudgetAwaitsTopUp, BudgetInUse
from crewmesh_agent_crew.crew_runs.errors import ServiceStopsError
from crewmesh_agent_crew.crew_runs.journal import Message
from crewmesh_agent_crew.crew_runs.models import Held, Past, workers_of
from crewmesh_agent_crew.crew_runs.parts import Parts
from crewmesh_agent_crew.crew_runs.record import Record
from crewmesh_agent_crew.crew_runs.stage import Said, Turn
from crewmesh_agent_crew.memory.models import Place
from crewmesh_agent_crew.models.calls import ModelCall, ModelReply, ToolSpec
from crewmesh_agent_crew.models.thinking import Answer
from crewmesh_agent_crew.models.usage import Used
from crewmesh_agent_crew.tools.guarded import GuardedToolbox
from crewmesh_agent_crew.tools.tool import reads_strangers
from crewmesh_agent_crew.tools.toolbox import NeedsDecisionError, Question, Source, Toolbox
from crewmesh_agent_crew.tools.work import ToolUse, WorkContext, acting_as
from crewmesh_agent_crew.turns.desk import Ports

_DIGEST = 8


class Watched:
    """The toolbox of the turn, while whoever watches sees that a tool is used."""

    def __init__(self, toolbox: Toolbox, show: Callable[[AgentActivity], None]) -> None:
        self._toolbox = toolbox
        self._show = show

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        return self._toolbox.specs

    async def use(self, name: str, arguments: JsonObject, *, key: str) -> str:
        self._show("calling_tool")
        return await self._toolbox.use(name, arguments, key=key)

    def shown(self, text: str, source: Source) -> str:
        return self._toolbox.shown(text, source)

    async def said(self, text: str) -> str:
        return await self._toolbox.said(text)


class Seat:
    def __init__(self, held: Held, turn: Turn, path: str, parts: Parts, past: Past, record: Record) -> None:
        self.used = Used()
        self._held = held
        self._turn = turn
        self._path = path
        self._parts = parts
        self._past = past
        self._record = record
        self._asked = 0
        self._charge = held.charge.charge(held.organization, held.id, held.crew, turn.agent.name)
        self._identity = acting_as(held.organization, held.id, held.group)
        self._place = Place(self._identity, held.id, path, held.group, _person_of(held))

    async def play(self) -> Said:
        toolbox = await self._parts.tools.open(self._turn.agent, self._work())
        status: AgentActivity = "idle"
        try:
            turn = replace(self._turn, agent=toolbox.agent)  # as policies let it be
            turn = await self._parts.memories.remind(self._place, turn)
            said = await self._parts.turns.run(turn, Ports(partial(self._ask, toolbox), Watched(toolbox, self._show)))
            await self._parts.memories.keep(self._place, turn, said, trusted=not toolbox.untrusted)
            return said
        except NeedsDecisionError:
            status = "waiting"
            raise
        finally:
            self._show(status)

    def _show(self, status: AgentActivity) -> None:
        held = self._held
        self._parts.statuses.now(held.organization, self._turn.agent.name, held.id, status, about=held.group)

    def _work(self) -> WorkContext:
        return WorkContext(
            identity=self._identity,
            crew_run=self._held.id,
            place=f"{self._held.id}/{self._path}",
            verdict=self._verdict,
            record=self._used_a_tool,
            tags=self._held.tags,
            untrusted=self._held.untrusted,
            wary=any(reads_strangers(agent) for agent in workers_of(self._held.doing)[0]),
        )

    def _verdict(self, question: str) -> Verdict | None:
        return self._past.verdicts.get(question)

    async def _used_a_tool(self, connection: AsyncConnection[DictRow], use: ToolUse) -> None:
        message = Message(f"tool/{use.key}", "tool", use.text, use.tool, use.agent, self._turn.task)
        await self._record.within(connection, message)

    async def _ask(self, toolbox: GuardedToolbox, call: ModelCall) -> ModelReply:
        """Under a key that tells the call: after a crash the same call is answered from the ledger."""
        if self._parts.lifecycle.stopping.is_set():
            raise ServiceStopsError
        self._show("thinking")
        self._asked += 1
        name = f"{self._path}/m{self._asked}"
        answer = await self._paid(toolbox, call, name)
        self.used = self.used.and_(answer)
        self._record.used(self._path, self.used)
        return answer.reply

    async def _paid(self, toolbox: GuardedToolbox, call: ModelCall, name: str) -> Answer:
        # What is masked or forbidden in the final word must not be heard before.
        sink = toolbox.aloud(self._parts.words.sink(self._held.organization, self._held.id, name))
        try:
            key = f"{self._held.id}/{name}-{_digest(call)}"
            return await self._parts.thinking.ask(call, self._charge, key, sink=sink, forbids=toolbox.forbidden_model)
        except (BudgetAwaitsTopUp, BudgetInUse) as short:
            raise NeedsDecisionError(self._about_money(short)) from short
        finally:
            if sink is not None:
                sink.done()

    def _about_money(self, short: Problem) -> Question:
        """One question per budget, whichever agents came to its end."""
        budget = str(short.extensions.get("budget", ""))
        return Question(id=f"budget-{budget}", kind="budget", title=short.detail, agent=self._turn.agent.name)


def _person_of(held: Held) -> str | None:
    """Whose chat it is; the chat itself, where nobody in particular has it."""
    return (held.charge.api_key or held.charge.user or held.conversation) if held.kind == "chat" else None


def _digest(call: ModelCall) -> str:
    return hashlib.sha256(call.model_dump_json(by_alias=True).encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
