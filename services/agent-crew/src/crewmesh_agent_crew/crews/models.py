"""A crew's definition: agents, the process by which they work together, tasks, and inputs that a kickoff fills in.

``{question}`` in a task's description stands for the input of that name and is filled in once; nothing in a value is
ever read as a placeholder. Anything else in braces is plain text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from crewmesh_contracts.base import Contract, JsonObject
from crewmesh_contracts.ids import Slug
from pydantic import Field, StringConstraints, model_validator

from crewmesh_agent_crew.agents.models import AgentDefinition, Text

_PLACEHOLDER = re.compile(r"(?<!\{)\{([a-z][a-z0-9_]*)\}(?!\})")

InputName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]


class AgentReference(Contract):
    """An agent of the organization, by its name: its published version when the crew begins to work."""

    use: Slug


class Task(Contract):
    """One piece of work. ``context`` names earlier tasks whose results the agent is shown.

    ``agent`` may be left out where the process finds one: by ``skill``, or by the manager's choice.
    """

    name: Slug
    agent: Slug | None = None
    skill: Slug | None = None
    description: Annotated[Text, Field(min_length=1, max_length=4_000)]
    expected_output: Annotated[Text, Field(min_length=1, max_length=1_000)]
    context: Annotated[tuple[Slug, ...], Field(max_length=20)] = ()
    output_schema: JsonObject | None = None

    @property
    def placeholders(self) -> set[str]:
        return set(_PLACEHOLDER.findall(self.description))

    def described(self, values: Mapping[str, str]) -> str:
        """The description with each input's value in its place."""
        return _PLACEHOLDER.sub(lambda found: values[found[1]], self.description)


class Input(Contract):
    """``most_characters``: a longer value is cut there, for small models read little and slowly."""

    name: InputName
    required: bool = True
    most_characters: Annotated[int, Field(ge=1, le=20_000)] = 20_000


Process: TypeAlias = Literal[
    "sequential", "hierarchical", "parallel", "consensus", "problem-solving", "code-review", "standup"
]


class CrewDefinition(Contract):
    """``manager`` leads a hierarchical crew. ``rounds`` bounds processes that go around."""

    name: Slug
    description: Annotated[Text, Field(max_length=1_000)] = ""
    process: Process = "sequential"
    manager: Slug | None = None
    rounds: Annotated[int, Field(ge=1, le=20)] = 3
    tags: Annotated[tuple[Slug, ...], Field(max_length=50)] = ()
    inputs: Annotated[tuple[Input, ...], Field(max_length=20)] = ()
    agents: Annotated[tuple[AgentDefinition | AgentReference, ...], Field(min_length=1, max_length=20)]
    tasks: Annotated[tuple[Task, ...], Field(min_length=1, max_length=20)]

    @model_validator(mode="after")
    def _holds_together(self) -> CrewDefinition:
        problems = [*self._naming_problems(), *self._task_problems()]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _naming_problems(self) -> list[str]:
        problems: list[str] = []
        named = (
            ("agent", [name_of(agent) for agent in self.agents]),
            ("task", [task.name for task in self.tasks]),
            ("input", [input_.name for input_ in self.inputs]),
        )
        for kind, names in named:
            problems += [f"{kind} {name!r} is there twice" for name in sorted(set(names)) if names.count(name) > 1]
        return problems

    def _task_problems(self) -> list[str]:
        agents = {name_of(agent) for agent in self.agents}
        inputs = {input_.name for input_ in self.inputs}
        problems: list[str] = []
        earlier: set[str] = set()
        for task in self.tasks:
            if task.agent is not None and task.agent not in agents:
                problems.append(f"task {task.name!r}: there is no agent {task.agent!r}")
            problems += [
                f"task {task.name!r}: context {name!r} is no earlier task"
                for name in task.context
                if name not in earlier
            ]
            problems += [
                f"task {task.name!r}: {{{name}}} is no declared input" for name in sorted(task.placeholders - inputs)
            ]
            earlier.add(task.name)
        return problems


def name_of(agent: AgentDefinition | AgentReference) -> str:
    return agent.use if isinstance(agent, AgentReference) else agent.name
