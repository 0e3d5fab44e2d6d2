"""Hierarchical: a manager does every task by giving parts of it to coworkers and asking them, and has the last word.

Coworkers may ask each other, and whoever is asked answers by itself: so it goes no deeper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from crewmesh_contracts.base import JsonObject

from crewmesh_agent_crew.agents.models import AgentDefinition
from crewmesh_agent_crew.crew_runs.stage import Said, Turn
from crewmesh_agent_crew.models.calls import ToolSpec
from crewmesh_agent_crew.processes.floor import Floor
from crewmesh_agent_crew.tools.toolbox import LocalTool

_DELEGATE = (
    "Give a part of the work to a coworker, who does it and reports back. Choose by skill. They know nothing of it but "
    "what you write: give them all they need. Your coworkers: {coworkers}"
)
_ASK = "Ask a coworker a question. They know nothing of your work but what you write. Your coworkers: {coworkers}"


async def managed(floor: Floor) -> Said:
    manager = floor.manager
    asked = floor.asked(manager)
    team = Team(floor, manager, floor.others(manager))
    return await floor.give(replace(asked, instruction=f"{asked.instruction}{_meant_for(floor)}", helpers=team.tools))


def _meant_for(floor: Floor) -> str:
    task = floor.task
    if task.agent is not None and task.agent != floor.manager.name:
        return f"\n\nThis task is meant for your coworker {task.agent}."
    return f"\n\nThis task takes the skill {task.skill}." if task.skill is not None else ""


@dataclass(frozen=True, slots=True)
class Team:
    """Those whom ``head`` may give work to and ask."""

    floor: Floor
    head: AgentDefinition
    coworkers: Sequence[AgentDefinition]

    @property
    def tools(self) -> tuple[LocalTool, ...]:
        return (
            LocalTool(self._spec("delegate_work", _DELEGATE, "task", "What is to be done."), self._delegate),
            LocalTool(self._spec("ask_coworker", _ASK, "question", "The question."), self._ask),
        )

    @property
    def asking(self) -> tuple[LocalTool, ...]:
        return self.tools[1:] if self.coworkers else ()

    async def _delegate(self, arguments: JsonObject) -> str:
        return await self._turn(arguments, "task", with_helpers=True)

    async def _ask(self, arguments: JsonObject) -> str:
        return await self._turn(arguments, "question", with_helpers=False)

    async def _turn(self, arguments: JsonObject, what: str, *, with_helpers: bool) -> str:
        wanted, context = str(arguments.get(what) or "").strip(), str(arguments.get("context") or "").strip()
        coworker = self._found(str(arguments.get("coworker") or ""))
        if coworker is None:
            return f"Not done: there is no such coworker. Your coworkers: {self._listed()}"
        if not wanted:
            return f"Not done: write the {what} that is meant for {coworker.name}."
        circle = Team(self.floor, coworker, [other for other in self.coworkers if other is not coworker])
        turn = Turn(
            agent=coworker,
            task=self.floor.task.name,
            instruction="\n\n".join(part for part in (wanted, context) if part),
            to=self.head.name,
            helpers=circle.asking if with_helpers else (),
        )
        # Not on the floor's record: once the head's own turn is over, it is not played again after a crash.
        return (await self.floor.stage.turn(turn)).text

    def _found(self, called: str) -> AgentDefinition | None:
        """By name; models also write the role, or a skill that only one has."""
        wanted = called.strip().casefold()
        for known in (_name, _role, _skills):
            found = [coworker for coworker in self.coworkers if wanted in known(coworker)]
            if len(found) == 1:
                return found[0]
        return None

    def _listed(self) -> str:
        return "; ".join(_described(coworker) for coworker in self.coworkers)

    def _spec(self, name: str, description: str, what: str, meaning: str) -> ToolSpec:
        texts: JsonObject = {
            "coworker": {"type": "string", "enum": [coworker.name for coworker in self.coworkers]},
            what: {"type": "string", "description": meaning},
            "context": {"type": "string", "description": "All they need to know for it."},
        }
        parameters: JsonObject = {"type": "object", "properties": texts, "required": ["coworker", what]}
        return ToolSpec(name=name, description=description.format(coworkers=self._listed()), parameters=parameters)


def _name(agent: AgentDefinition) -> Sequence[str]:
    return [agent.name.casefold()]


def _role(agent: AgentDefinition) -> Sequence[str]:
    return [agent.role.casefold()]


def _skills(agent: AgentDefinition) -> Sequence[str]:
    return [skill.casefold() for skill in agent.skills]


def _described(agent: AgentDefinition) -> str:
    skills = f", skilled in {', '.join(agent.skills)}" if agent.skills else ""
    return f"{agent.name} ({agent.role}{skills})"
