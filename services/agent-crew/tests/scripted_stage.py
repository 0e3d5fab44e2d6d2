"""A stage without agents: what is said in a turn is decided by a function, and a journal outlives the stage."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from crewmesh_agent_crew.agents.models import AgentDefinition
from crewmesh_agent_crew.crew_runs.stage import Said, Turn
from crewmesh_agent_crew.crews.models import CrewDefinition, Process, Task
from crewmesh_contracts.base import JsonValue

# Words, or data.
Script = Callable[[Turn], JsonValue]


class CrashError(Exception):
    """The process dies here."""


@dataclass
class ScriptedStage:
    """``journal``: what was said, by turn. ``lives``: how many turns it gives before it crashes."""

    crew: CrewDefinition
    script: Script
    journal: dict[str, Said] = field(default_factory=dict[str, Said])
    inputs: Mapping[str, str] = field(default_factory=dict[str, str])
    quoted: Collection[str] = ()
    lives: int = 1_000
    given: list[Turn] = field(default_factory=list[Turn])
    at_once: int = 0
    most_at_once: int = 0
    _counted: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])

    def agent(self, name: str) -> AgentDefinition:
        (found,) = (agent for agent in self.crew.agents if isinstance(agent, AgentDefinition) and agent.name == name)
        return found

    async def turn(self, turn: Turn) -> Said:
        place = (turn.task, turn.agent.name)
        self._counted[place] += 1
        path = f"{turn.task}/{turn.agent.name}/{self._counted[place]}"
        if path not in self.journal:
            self.journal[path] = await self._given(turn)
        return self.journal[path]

    async def _given(self, turn: Turn) -> Said:
        if self.lives == 0:
            raise CrashError
        self.lives -= 1
        self.given.append(turn)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0)
        self.at_once -= 1
        for helper in turn.helpers:
            if turn.instruction.startswith("use "):
                _, name, arguments = turn.instruction.split(" ", 2)
                if helper.spec.name == name:
                    return Said(turn.agent.name, turn.task, await helper.use(json.loads(arguments)))
        said = self.script(turn)
        if isinstance(said, str):
            return Said(turn.agent.name, turn.task, said)
        return Said(turn.agent.name, turn.task, json.dumps(said), said)


def agent(name: str, *skills: str) -> AgentDefinition:
    return AgentDefinition(name=name, role=f"The {name}", goal="Do well.", backstory="Long.", skills=skills)


def task(name: str, description: str = "", **more: object) -> Task:
    given = {"name": name, "description": description or f"Do {name}.", "expected_output": f"{name} done", **more}
    return Task.model_validate(given)


def crew(process: Process, *tasks: Task, agents: str = "ada ben cem", **more: object) -> CrewDefinition:
    members = [agent(name) for name in agents.split()]
    given = {"name": "crew", "process": process, "agents": members, "tasks": tasks, **more}
    return CrewDefinition.model_validate(given)
