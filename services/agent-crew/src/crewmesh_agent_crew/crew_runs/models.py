"""A crew run as this service knows it: what is done in it, who pays, how far it is, what it used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias

from crewmesh_contracts.base import Contract, JsonObject, JsonValue, is_empty
from crewmesh_contracts.invocations import CrewQuestion, Verdict
from pydantic import Field, TypeAdapter

from crewmesh_agent_crew.agents.models import AgentDefinition
from crewmesh_agent_crew.crew_runs.stage import Document, Said
from crewmesh_agent_crew.crews.models import CrewDefinition
from crewmesh_agent_crew.models.calls import Image, Message
from crewmesh_agent_crew.models.usage import Used
from crewmesh_agent_crew.spending.charged_to import ChargedTo
from crewmesh_agent_crew.tools.toolbox import Question

Kind: TypeAlias = Literal["crew", "agent", "chat"]
Status: TypeAlias = Literal["queued", "working", "waiting", "completed", "failed", "cancelled"]
ENDED: frozenset[Status] = frozenset({"completed", "failed", "cancelled"})


class Shown(Contract):
    """What was said before, by somebody else."""

    agent: str
    task: str
    text: str


class CrewWork(Contract):
    """A whole crew, with its agents resolved, and a value for each of its inputs. ``quoted``: inputs that others wrote
    than whoever asks."""

    of: Literal["crew"] = "crew"
    crew: CrewDefinition
    inputs: dict[str, str]
    quoted: Annotated[tuple[str, ...], Field(exclude_if=is_empty)] = ()


class AgentWork(Contract):
    """One agent and its one task. ``shown``: what others said before it; ``history``: what it and a person did.

    ``quotes``: stretches of the task that others wrote than whoever asks.
    """

    of: Literal["agent"] = "agent"
    agent: AgentDefinition
    task: str
    quotes: Annotated[tuple[tuple[int, int], ...], Field(exclude_if=is_empty)] = ()
    expected: str = ""
    output_schema: JsonObject | None = None
    shown: tuple[Shown, ...] = ()
    images: tuple[Image, ...] = ()
    history: tuple[Message, ...] = ()
    documents: tuple[Document, ...] = ()


DOING: TypeAdapter[CrewWork | AgentWork] = TypeAdapter(Annotated[CrewWork | AgentWork, Field(discriminator="of")])


@dataclass(frozen=True, slots=True)
class Work:
    """What is to be begun. ``key``: asked for again under it, it is the same run. ``same``: what tells requests apart.

    ``started_by``: the person or key behind it, who alone sees a chat. ``untrusted``: it holds words of strangers.
    """

    kind: Kind
    name: str
    version: int
    doing: CrewWork | AgentWork
    charge: ChargedTo
    key: str
    same: str
    requested_by: str
    started_by: str
    crew_id: str | None = None
    agent_id: str | None = None
    untrusted: bool = False


class Spoken(Contract):
    """One turn's words, as the outcome keeps them."""

    agent: str
    task: str
    text: str
    data: JsonValue = None


class Result(Contract):
    """What came of a run: the final text, and the turns that count."""

    text: str
    data: JsonValue = None
    said: tuple[Spoken, ...] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a run is. ``problem``: what it failed of. ``questions``: those that are open."""

    id: str
    kind: Kind
    name: str
    fingerprint: str
    status: Status
    used: Used
    charge: JsonObject
    started_by: str
    crew_id: str | None = None
    agent_id: str | None = None
    result: Result | None = None
    problem: JsonObject | None = None
    questions: tuple[CrewQuestion, ...] = ()

    @property
    def rests(self) -> bool:
        """Whether nothing happens before somebody does something."""
        return self.status == "waiting" or self.status in ENDED


@dataclass(frozen=True, slots=True)
class Held:
    """A run that this process drives, as it was when it was taken. ``told``: how many decisions it had been told."""

    id: str
    organization: str
    kind: Kind
    name: str
    crew_id: str | None
    agent_id: str | None
    key: str
    doing: CrewWork | AgentWork
    charge: ChargedTo
    epoch: int
    conversation: str | None = None
    untrusted: bool = False
    stop_asked: bool = False
    told: int = 0
    fruitless: int = 0
    traceparent: str | None = None

    @property
    def crew(self) -> str | None:
        """The name of the crew, where it is one."""
        return self.doing.crew.name if isinstance(self.doing, CrewWork) else None

    @property
    def tags(self) -> frozenset[str]:
        return frozenset(self.doing.crew.tags) if isinstance(self.doing, CrewWork) else frozenset()

    @property
    def group(self) -> str | None:
        """As what its tools act, and whose memory it has."""
        return group_of(self.crew_id, self.agent_id)


@dataclass(frozen=True, slots=True)
class Turned:
    """A turn that is over, as the journal has it."""

    said: Said
    used: Used


@dataclass(frozen=True, slots=True)
class Past:
    """All that was written down before a run was taken."""

    turns: Mapping[str, Turned]
    verdicts: Mapping[str, Verdict]
    questions: Mapping[str, Question]


def group_of(crew_id: str | None, agent_id: str | None) -> str | None:
    if crew_id is not None:
        return f"crew:{crew_id}"
    return None if agent_id is None else f"agent:{agent_id}"


def workers_of(doing: CrewWork | AgentWork) -> tuple[tuple[AgentDefinition, ...], frozenset[str]]:
    """The agents of a work, and the tags of their crew."""
    if isinstance(doing, AgentWork):
        return (doing.agent,), frozenset()
    agents = tuple(agent for agent in doing.crew.agents if isinstance(agent, AgentDefinition))
    return agents, frozenset(doing.crew.tags)
