"""A crew's definition: agents, the process by which they work together, tasks, and inputs that each run fills in.

``{question}`` in a task's description stands for the input of that name and is filled in once; nothing in a value is
ever read as a placeholder. Anything else in braces is plain text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Annotated, Literal, TypeAlias, cast

from crewmesh_contracts.base import Contract, JsonObject
from crewmesh_contracts.ids import Slug
from pydantic import Discriminator, Field, Tag, model_validator

from crewmesh_agent_crew.agents.models import AgentDefinition
from crewmesh_agent_crew.prompt_templates.models import PromptUse, VariableName
from crewmesh_agent_crew.prompt_templates.placeholders import filled, placeholders
from crewmesh_agent_crew.records.models import Definition, Text


class AgentReference(Contract):
    """An agent of the organization, by its name: as it is when the crew begins to work."""

    use: Slug


def _inline_or_reference(value: object) -> str:
    if isinstance(value, AgentReference):
        return "reference"
    return "reference" if isinstance(value, dict) and "use" in cast("dict[str, object]", value) else "inline"


# Told apart before they are checked, so that a mistake is told about the one that was meant.
Member: TypeAlias = Annotated[
    Annotated[AgentDefinition, Tag("inline")] | Annotated[AgentReference, Tag("reference")],
    Discriminator(_inline_or_reference),
]


class Task(Contract):
    """One piece of work. ``context`` names earlier tasks whose results the agent is shown.

    ``agent`` may be left out where the process finds one: by ``skill``, or by the manager's choice. ``prompt``: a
    template of the organization in place of the description.
    """

    name: Slug
    agent: Slug | None = None
    skill: Slug | None = None
    description: Annotated[Text, Field(max_length=20_000)] = ""
    prompt: PromptUse | None = None
    expected_output: Annotated[Text, Field(min_length=1, max_length=1_000)]
    context: Annotated[tuple[Slug, ...], Field(max_length=20)] = ()
    output_schema: JsonObject | None = None

    @model_validator(mode="after")
    def _says_what_to_do(self) -> Task:
        if bool(self.description) == (self.prompt is not None):
            raise ValueError("give the task a description or a prompt, and not both")
        return self

    @property
    def placeholders(self) -> set[str]:
        return placeholders(self.description)

    def described(self, values: Mapping[str, str]) -> str:
        """The description with each input's value in its place."""
        return filled(self.description, values)


class Input(Contract):
    """``most_characters``: a longer value is cut there, for small models read little and slowly."""

    name: VariableName
    required: bool = True
    most_characters: Annotated[int, Field(ge=1, le=20_000)] = 20_000


Process: TypeAlias = Literal[
    "sequential", "hierarchical", "parallel", "consensus", "problem-solving", "code-review", "standup"
]


# How many agents a process is for, at least.
_FEWEST_AGENTS: dict[Process, int] = {"hierarchical": 2, "consensus": 2, "problem-solving": 2, "code-review": 2}
# Those in which each task is one agent's.
EACH_TASK_HAS_ITS_AGENT: tuple[Process, ...] = ("sequential", "parallel")


class CrewDefinition(Definition):
    """``manager`` leads a hierarchical crew; without one, the first agent does. ``rounds`` bounds what goes around."""

    process: Process = "sequential"
    manager: Slug | None = None
    rounds: Annotated[int, Field(ge=1, le=20)] = 3
    inputs: Annotated[tuple[Input, ...], Field(max_length=20)] = ()
    agents: Annotated[tuple[Member, ...], Field(min_length=1, max_length=20)]
    tasks: Annotated[tuple[Task, ...], Field(min_length=1, max_length=20)]

    @model_validator(mode="after")
    def _holds_together(self) -> CrewDefinition:
        problems = [*self._naming_problems(), *self._process_problems(), *self._task_problems()]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _naming_problems(self) -> Iterator[str]:
        named = (
            ("agent", [name_of(agent) for agent in self.agents]),
            ("task", [task.name for task in self.tasks]),
            ("input", [input_.name for input_ in self.inputs]),
        )
        for kind, names in named:
            yield from (
                f"{kind} {name!r} is there twice" for name, times in sorted(Counter(names).items()) if times > 1
            )

    def _process_problems(self) -> Iterator[str]:
        agents = [name_of(agent) for agent in self.agents]
        fewest = _FEWEST_AGENTS.get(self.process, 1)
        if len(agents) < fewest:
            yield f"the process {self.process} needs {fewest} agents or more"
        if self.manager is not None and self.manager not in agents:
            yield f"the manager {self.manager!r} is none of the agents"
        if self.process in EACH_TASK_HAS_ITS_AGENT and len(agents) > 1:
            for task in self.tasks:
                if task.agent is None and task.skill is None:
                    yield f"task {task.name!r}: say which agent does it, or which skill it takes"

    def _task_problems(self) -> Iterator[str]:
        agents = {name_of(agent) for agent in self.agents}
        inputs = {input_.name for input_ in self.inputs}
        earlier: set[str] = set()
        for task in self.tasks:
            if task.agent is not None and task.agent not in agents:
                yield f"task {task.name!r}: there is no agent {task.agent!r}"
            for name in task.context:
                if name not in earlier:
                    yield f"task {task.name!r}: context {name!r} is no earlier task"
            for name in sorted(task.placeholders - inputs):
                yield f"task {task.name!r}: {{{name}}} is no declared input"
            earlier.add(task.name)


def name_of(agent: AgentDefinition | AgentReference) -> str:
    return agent.use if isinstance(agent, AgentReference) else agent.name
