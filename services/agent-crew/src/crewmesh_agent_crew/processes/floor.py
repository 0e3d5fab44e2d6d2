"""What all processes share: tasks one after the other, turns at the same time, and a record of all that was said.

The record's order is that in which turns were given, not that in which they ended: it is the same after every crash.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias, TypeVar

from crewmesh_contracts.base import JsonObject, JsonValue

from crewmesh_agent_crew.agents.models import AgentDefinition
from crewmesh_agent_crew.crew_runs.stage import Said, Stage, Turn
from crewmesh_agent_crew.crews.models import Task, name_of
from crewmesh_agent_crew.prompt_templates.placeholders import places

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class Outcome:
    """``said``: everything, in order. ``text`` and ``data`` are those of the last task."""

    text: str
    said: tuple[Said, ...]
    data: JsonValue = None


@dataclass(slots=True)
class Floor:
    """Where one task is worked on. ``shown``: the results of earlier tasks that belong to it."""

    stage: Stage
    task: Task
    shown: Sequence[Said]
    said: list[Said] = field(default_factory=list[Said])

    @property
    def rounds(self) -> int:
        return self.stage.crew.rounds

    @property
    def instruction(self) -> str:
        return self.task.described(self.stage.inputs)

    @property
    def agents(self) -> tuple[AgentDefinition, ...]:
        return tuple(self.stage.agent(name_of(agent)) for agent in self.stage.crew.agents)

    @property
    def lead(self) -> AgentDefinition:
        """Whose task it is: who is named, or has the skill that it takes, or is first."""
        if self.task.agent is not None:
            return self.stage.agent(self.task.agent)
        skilled = [agent for agent in self.agents if self.task.skill in agent.skills]
        return (skilled or self.agents)[0]

    @property
    def manager(self) -> AgentDefinition:
        """Who leads the crew; the first agent, where nobody is named."""
        manager = self.stage.crew.manager
        return self.agents[0] if manager is None else self.stage.agent(manager)

    def others(self, *but: AgentDefinition) -> tuple[AgentDefinition, ...]:
        left_out = {agent.name for agent in but}
        return tuple(agent for agent in self.agents if agent.name not in left_out)

    def asked(self, agent: AgentDefinition) -> Turn:
        """The task itself, as it is written."""
        return Turn(
            agent=agent,
            task=self.task.name,
            instruction=self.instruction,
            quotes=places(self.task.description, self.stage.inputs, self.stage.quoted),
            expected=self.task.expected_output,
            shown=self.shown,
            output_schema=self.task.output_schema,
        )

    async def give(self, turn: Turn) -> Said:
        said = await self.stage.turn(turn)
        self.said.append(said)
        return said

    async def give_at_once(self, turns: Sequence[Turn]) -> list[Said]:
        said = await together([self.stage.turn(turn) for turn in turns])
        self.said += said
        return said


OneTask: TypeAlias = Callable[[Floor], Awaitable[Said]]


def task_by_task(do: OneTask) -> Callable[[Stage], Awaitable[Outcome]]:
    """The process that does every task in this way, in order."""

    async def process(stage: Stage) -> Outcome:
        results: dict[str, Said] = {}
        said: list[Said] = []
        for task in stage.crew.tasks:
            floor = Floor(stage, task, [results[name] for name in task.context], said)
            results[task.name] = await do(floor)
        last = results[stage.crew.tasks[-1].name]
        return Outcome(last.text, tuple(said), last.data)

    return process


async def together(works: Sequence[Coroutine[object, object, ResultT]]) -> list[ResultT]:
    """All at the same time. When one fails the others still come to their end, for they are paid for; then it fails.

    So when several need a decision, all of their questions are known at once.
    """
    ended = await asyncio.gather(*works, return_exceptions=True)
    results: list[ResultT] = []
    for result in ended:
        if isinstance(result, BaseException):
            raise result
        results.append(result)
    return results


def told(asked: Turn, instruction: str, *, shown: Sequence[Said] = ()) -> Turn:
    """Something else on the same task, from the same agent, in free words."""
    agent = asked.agent.model_copy(update={"output_schema": None})
    shown = (*asked.shown, *shown)
    return replace(asked, agent=agent, instruction=instruction, expected="", shown=shown, output_schema=None)


def judging(asked: Turn, instruction: str, shown: Sequence[Said], schema: JsonObject) -> Turn:
    """A judgement on what was said, as data where the model can give it. No tools: everything is before it."""
    turn = told(asked, instruction, shown=shown)
    return replace(turn, agent=turn.agent.model_copy(update={"tools": ()}), output_schema=schema, or_text=True)


def with_record(said: Said, record: JsonObject) -> Said:
    """How it came about, where nothing else was wanted as data."""
    return said if said.data is not None else replace(said, data=record)
