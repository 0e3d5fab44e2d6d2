"""A crew's definition: agents with a role, tasks that they do one after the other, inputs that a kickoff fills in.

``{question}`` in a task's description stands for the input of that name and is filled in once; nothing in a value is
ever read as a placeholder. Anything else in braces is plain text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal

from crewmesh_contracts.base import Contract
from crewmesh_contracts.ids import Slug
from pydantic import Field, StringConstraints, model_validator

_PLACEHOLDER = re.compile(r"(?<!\{)\{([a-z][a-z0-9_]*)\}(?!\})")

InputName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
# PostgreSQL stores any character but NUL.
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]


class Agent(Contract):
    name: Slug
    role: Annotated[Text, Field(min_length=1, max_length=200)]
    goal: Annotated[Text, Field(min_length=1, max_length=1_000)]
    backstory: Annotated[Text, Field(max_length=2_000)] = ""


class Task(Contract):
    """One piece of work. ``context`` names earlier tasks whose results the agent is shown."""

    name: Slug
    agent: Slug
    description: Annotated[Text, Field(min_length=1, max_length=4_000)]
    expected_output: Annotated[Text, Field(min_length=1, max_length=1_000)]
    context: Annotated[tuple[Slug, ...], Field(max_length=20)] = ()

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


class CrewDefinition(Contract):
    name: Slug
    description: Annotated[Text, Field(max_length=1_000)] = ""
    process: Literal["sequential"] = "sequential"
    inputs: Annotated[tuple[Input, ...], Field(max_length=20)] = ()
    agents: Annotated[tuple[Agent, ...], Field(min_length=1, max_length=20)]
    tasks: Annotated[tuple[Task, ...], Field(min_length=1, max_length=20)]

    @model_validator(mode="after")
    def _holds_together(self) -> CrewDefinition:
        problems = [*self._naming_problems(), *self._task_problems()]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _naming_problems(self) -> list[str]:
        problems: list[str] = []
        for kind, items in (("agent", self.agents), ("task", self.tasks), ("input", self.inputs)):
            names = [item.name for item in items]
            problems += [f"{kind} {name!r} is there twice" for name in sorted(set(names)) if names.count(name) > 1]
        return problems

    def _task_problems(self) -> list[str]:
        agents = {agent.name for agent in self.agents}
        inputs = {input_.name for input_ in self.inputs}
        problems: list[str] = []
        earlier: set[str] = set()
        for task in self.tasks:
            if task.agent not in agents:
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
