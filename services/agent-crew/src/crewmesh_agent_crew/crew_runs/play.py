"""One play of a run: the stage on which its process gives agents their turns.

A turn that the journal holds is over already. Any other is given: the agent asks models under keys that are the same
for the same call after every crash, and uses its toolbox; then its words and what it used are committed together.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from crewmesh_agent_crew.agents.models import AgentDefinition
from crewmesh_agent_crew.crew_runs import metrics
from crewmesh_agent_crew.crew_runs.journal import Message
from crewmesh_agent_crew.crew_runs.models import AgentWork, CrewWork, Held, Past, Result, Spoken, Turned
from crewmesh_agent_crew.crew_runs.parts import Parts
from crewmesh_agent_crew.crew_runs.record import Record
from crewmesh_agent_crew.crew_runs.seat import Seat
from crewmesh_agent_crew.crew_runs.stage import Said, Turn
from crewmesh_agent_crew.crews.models import CrewDefinition
from crewmesh_agent_crew.processes import run_process
from crewmesh_agent_crew.tools.toolbox import NeedsDecisionError, Question

_LONGEST_PATH = 150
_ALONE = "task"


class Play:
    """A Stage."""

    def __init__(self, held: Held, past: Past, parts: Parts, record: Record) -> None:
        # What people have to decide before it goes on, of all turns that came to such a point.
        self.questions: dict[str, Question] = {}
        self._held = held
        self._past = past
        self._parts = parts
        self._record = record
        self._given: Counter[tuple[str, str]] = Counter()
        self._crew = _crew_of(held)
        self._agents = {agent.name: agent for agent in self._crew.agents if isinstance(agent, AgentDefinition)}

    @property
    def crew(self) -> CrewDefinition:
        return self._crew

    @property
    def inputs(self) -> Mapping[str, str]:
        doing = self._held.doing
        return doing.inputs if isinstance(doing, CrewWork) else {}

    @property
    def quoted(self) -> Collection[str]:
        doing = self._held.doing
        return doing.quoted if isinstance(doing, CrewWork) else ()

    def agent(self, name: str) -> AgentDefinition:
        return self._agents[name]

    async def result(self) -> Result:
        """Play it to its end."""
        doing = self._held.doing
        if isinstance(doing, AgentWork):
            said = await self.turn(_turn_of(doing))
            return Result(text=said.text, data=said.data, said=_spoken([said]))
        outcome = await run_process(self)
        return Result(text=outcome.text, data=outcome.data, said=_spoken(outcome.said))

    async def turn(self, turn: Turn) -> Said:
        path = self._path_of(turn)
        known = self._past.turns.get(path)
        if known is not None:
            metrics.TURNS.labels("journal").inc()
            return known.said
        metrics.TURNS.labels("agent").inc()
        self._record.say(_instruction(path, turn))
        return await self._give(turn, path)

    async def _give(self, turn: Turn, path: str) -> Said:
        seat = Seat(self._held, turn, path, self._parts, self._past, self._record)
        try:
            said = await seat.play()
        except NeedsDecisionError as needed:
            self.questions[needed.question.id] = needed.question
            raise
        answer = Message(f"{path}/answer", "answer", said.text, said.agent, turn.to or "", said.task)
        await self._record.turn(path, Turned(said, seat.used), answer)
        return said

    def _path_of(self, turn: Turn) -> str:
        """Turns are told apart by their task and agent, and by how many of those there were before."""
        place = (turn.task, turn.agent.name)
        self._given[place] += 1
        path = f"{turn.task}/{turn.agent.name}/{self._given[place]}"
        return path if len(path) <= _LONGEST_PATH else hashlib.sha256(path.encode()).hexdigest()


def _crew_of(held: Held) -> CrewDefinition:
    """A lone agent is a crew of one, without tasks: it is given its only turn directly."""
    doing = held.doing
    if isinstance(doing, CrewWork):
        return doing.crew
    return CrewDefinition.model_construct(name=doing.agent.name, agents=(doing.agent,), tasks=(), tags=doing.agent.tags)


def _turn_of(doing: AgentWork) -> Turn:
    return Turn(
        agent=doing.agent,
        task=_ALONE,
        instruction=doing.task,
        quotes=doing.quotes,
        expected=doing.expected,
        shown=tuple(Said(agent=shown.agent, task=shown.task, text=shown.text) for shown in doing.shown),
        output_schema=doing.output_schema,
        images=doing.images,
        history=doing.history,
        documents=doing.documents,
    )


def _instruction(path: str, turn: Turn) -> Message:
    return Message(f"{path}/instruction", "instruction", turn.instruction, turn.to or "", turn.agent.name, turn.task)


def _spoken(said: Sequence[Said]) -> tuple[Spoken, ...]:
    return tuple(Spoken(agent=each.agent, task=each.task, text=each.text, data=each.data) for each in said)
