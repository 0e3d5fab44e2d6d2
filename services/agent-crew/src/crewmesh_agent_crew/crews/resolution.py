"""A crew as it works: references replaced by their agents, presets and prompts filled in, tasks given to somebody.

Nothing here touches the database. Whatever cannot be filled in is a mistake with its place, and all of them are found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from pydantic import ValidationError

from crewmesh_agent_crew.agents.models import AgentDefinition
from crewmesh_agent_crew.crews.models import AgentReference, CrewDefinition, Task
from crewmesh_agent_crew.prompt_templates.models import PromptTemplateDefinition, PromptUse
from crewmesh_agent_crew.records.mistakes import Mistake, mistakes_of
from crewmesh_agent_crew.records.models import DefinitionT
from crewmesh_agent_crew.role_prompts.files import roles
from crewmesh_agent_crew.role_prompts.models import RolePrompt

# The manager of such a crew gives tasks away while it works.
_MANAGED = "hierarchical"
# By name and, where one was asked for, version.
Prompts = Mapping[tuple[str, int | None], PromptTemplateDefinition]


@dataclass(slots=True)
class Filling:
    """``agents``: those of the organization that may be set to work here. ``mistakes``: what was found on the way."""

    agents: Mapping[str, AgentDefinition]
    prompts: Prompts
    mistakes: list[Mistake] = field(default_factory=list[Mistake])

    def crew(self, crew: CrewDefinition) -> CrewDefinition:
        """With mistakes, what comes of it cannot be used."""
        members = [self._member(member, f"agents.{index}") for index, member in enumerate(crew.agents)]
        known = [member for member in members if member is not None]
        tasks = [self._task(task, f"tasks.{index}") for index, task in enumerate(crew.tasks)]
        if not self.mistakes and crew.process != _MANAGED:
            tasks = [self._given(task, known, f"tasks.{index}") for index, task in enumerate(tasks)]
        if self.mistakes:
            return crew
        filled = crew.model_copy(update={"agents": tuple(known), "tasks": tuple(tasks)})
        return self._checked(CrewDefinition, filled)

    def lone(self, agent: AgentDefinition) -> AgentDefinition:
        """An agent without a crew."""
        filled = self._agent(agent, "")
        return filled if self.mistakes else self._checked(AgentDefinition, filled)

    def _agent(self, agent: AgentDefinition, path: str) -> AgentDefinition:
        """What it says itself holds; what it leaves empty is the preset's, and skills are added."""
        texts = {"role": agent.role, "goal": agent.goal, "backstory": agent.backstory}
        if agent.prompt is not None:
            texts["backstory"] = self._rendered(agent.prompt, f"{_below(path)}prompt")
        shipped = self._shipped(agent, path)
        skills = agent.skills
        if shipped is not None:
            preset = {"role": shipped.role, "goal": shipped.goal, "backstory": shipped.backstory}
            texts = {name: text or preset[name] for name, text in texts.items()}
            skills = tuple(dict.fromkeys((*skills, *shipped.skills)))
        return agent.model_copy(update={**texts, "prompt": None, "skills": skills})

    def _shipped(self, agent: AgentDefinition, path: str) -> RolePrompt | None:
        if agent.preset is None:
            return None
        role = roles().get(agent.preset)
        if role is None:
            known = ", ".join(roles())
            self._wrong(f"{_below(path)}preset", f"there is no preset {agent.preset!r}; use one of {known}")
            return None
        if agent.specialization is None:
            return role
        special = role.specialized(agent.specialization)
        if special is None:
            known = ", ".join(each.name for each in role.specializations) or "none"
            self._wrong(f"{_below(path)}specialization", f"the specializations of {role.name} are: {known}")
        return special

    def _member(self, member: AgentDefinition | AgentReference, path: str) -> AgentDefinition | None:
        if isinstance(member, AgentDefinition):
            return self._agent(member, path)
        found = self.agents.get(member.use)
        if found is None:
            self._wrong(
                f"{path}.use", f"there is no agent {member.use!r} that you may set to work; GET /v1/agents lists agents"
            )
            return None
        return self._agent(found, path)

    def _task(self, task: Task, path: str) -> Task:
        if task.prompt is None:
            return task
        description = self._rendered(task.prompt, f"{path}.prompt")
        return task.model_copy(update={"description": description, "prompt": None})

    def _given(self, task: Task, agents: Sequence[AgentDefinition], path: str) -> Task:
        """To who is named, or else to who has the skill, the higher among its skills the better."""
        if task.agent is not None:
            return task
        if task.skill is None:
            return task.model_copy(update={"agent": agents[0].name}) if len(agents) == 1 else task
        skilled = sorted((agent.skills.index(task.skill), agent.name) for agent in agents if task.skill in agent.skills)
        if not skilled:
            self._wrong(f"{path}.skill", f"none of the agents has the skill {task.skill!r}; add it to one, or name one")
            return task
        best = [name for rank, name in skilled if rank == skilled[0][0]]
        if len(best) > 1:
            self._wrong(
                f"{path}.skill",
                f"{' and '.join(best)} are equally good at {task.skill!r}; say which agent does the task",
            )
        return task.model_copy(update={"agent": best[0]})

    def _rendered(self, use: PromptUse, path: str) -> str:
        template = self.prompts.get((use.use, use.version))
        if template is None:
            version = "" if use.version is None else f" with a version {use.version}"
            self._wrong(f"{path}.use", f"there is no prompt template {use.use!r}{version}; GET /v1/prompt-templates")
            return ""
        misfits = template.misfits(use.variables)
        for name, message in misfits:
            self._wrong(f"{path}.variables.{name}", message)
        return "" if misfits else template.rendered(use.variables)

    def _checked(self, kind: type[DefinitionT], filled: DefinitionT) -> DefinitionT:
        """What was filled in obeys the same rules as what people write: bounds, placeholders of declared inputs."""
        try:
            return kind.model_validate(filled.model_dump(mode="json"))
        except ValidationError as error:
            self.mistakes += mistakes_of(error)
            return filled

    def _wrong(self, path: str, message: str) -> None:
        self.mistakes.append(Mistake(path, message))


def references(crew: CrewDefinition) -> set[str]:
    return {member.use for member in crew.agents if isinstance(member, AgentReference)}


def prompt_uses(*parts: AgentDefinition | CrewDefinition) -> Iterator[PromptUse]:
    """Every template that an agent, or a crew's tasks and inline agents, are written with."""
    for part in parts:
        if isinstance(part, AgentDefinition):
            yield from [part.prompt] if part.prompt else []
        else:
            inline = (member for member in part.agents if isinstance(member, AgentDefinition))
            yield from (each.prompt for each in chain(inline, part.tasks) if each.prompt)


def _below(path: str) -> str:
    return f"{path}." if path else ""
