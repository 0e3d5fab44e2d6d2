"""A crew run as this service knows it: what is done in it, who pays, how far it is, what it used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Literal, TypeAlias

from crewmesh_contracts.base import Contract, JsonObject, JsonValue
from crewmesh_contracts.invocations import Payer, TokenUsage, Verdict
from crewmesh_kit.identity import Identity
from pydantic import Field

from crewmesh_agent_crew.agents.models import AgentDefinition
from crewmesh_agent_crew.crew_runs.stage import Document, Said
from crewmesh_agent_crew.crews.models import CrewDefinition
from crewmesh_agent_crew.models.calls import Image, Message
from crewmesh_agent_crew.models.thinking import Answer
from crewmesh_agent_crew.spending.charge import NANO, Charge
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
    """A whole crew, with its agents resolved, and a value for each of its inputs."""

    of: Literal["crew"] = "crew"
    crew: CrewDefinition
    inputs: dict[str, str]


class AgentWork(Contract):
    """One agent and its one task. ``shown``: what others said before it; ``history``: what it and a person did."""

    of: Literal["agent"] = "agent"
    agent: AgentDefinition
    task: str
    expected: str = ""
    output_schema: JsonObject | None = None
    shown: tuple[Shown, ...] = ()
    images: tuple[Image, ...] = ()
    history: tuple[Message, ...] = ()
    documents: tuple[Document, ...] = ()


Doing = Annotated[CrewWork | AgentWork, Field(discriminator="of")]


class ChargedTo(Contract):
    """The names under which the model calls of a run are recorded, and held against budgets."""

    workflow: str | None = None
    run: str | None = None
    step: str | None = None
    conversation: str | None = None
    user: str | None = None
    api_key: str | None = None
    teams: tuple[str, ...] = ()

    @classmethod
    def of_payer(cls, payer: Payer) -> ChargedTo:
        """A step of a workflow, in the name of whoever started its run."""
        return cls(
            workflow=payer.workflow,
            run=payer.run,
            step=payer.step,
            teams=payer.teams,
            **_person_or_key(payer.started_by),
        )

    @classmethod
    def of(cls, identity: Identity, *, conversation: str | None = None) -> ChargedTo:
        """Somebody who asks for it directly: a person, or a key and the person behind it."""
        teams = tuple(sorted(group.removeprefix("team:") for group in identity.groups if group.startswith("team:")))
        named = {**_person_or_key(identity.acting_for), **_person_or_key(identity.subject)}
        return cls(conversation=conversation, teams=teams, **named)

    def charge(self, organization: str, crew_run: str, crew: str | None, agent: str) -> Charge:
        return Charge(
            organization=organization,
            workflow=self.workflow,
            run=self.run,
            step=self.step,
            crew_run=crew_run,
            crew=crew,
            agent=agent,
            conversation=self.conversation,
            user=self.user,
            api_key=self.api_key,
            teams=frozenset(self.teams),
        )


def _person_or_key(subject: str | None) -> dict[str, str]:
    field_ = {"usr": "user", "key": "api_key"}.get((subject or "").partition("_")[0])
    return {} if field_ is None or subject is None else {field_: subject}


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


class Used(Contract):
    """What models were asked and what it cost, in nano-dollars."""

    model: str = ""
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    cost: int = 0

    def and_(self, answer: Answer) -> Used:
        tokens = answer.reply.tokens
        return Used(
            model=answer.reply.model,
            requests=self.requests + 1,
            prompt_tokens=self.prompt_tokens + tokens.input,
            completion_tokens=self.completion_tokens + tokens.output,
            cached_tokens=self.cached_tokens + tokens.cached,
            cost=self.cost + answer.cost,
        )

    def __add__(self, other: Used) -> Used:
        return Used(
            model=other.model or self.model,
            requests=self.requests + other.requests,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
            cached_tokens=self.cached_tokens + other.cached_tokens,
            cost=self.cost + other.cost,
        )

    def told(self) -> TokenUsage:
        return TokenUsage(**self.model_dump(exclude={"cost"}), cost=in_dollars(self.cost))


def in_dollars(nano: int) -> str:
    return f"{(Decimal(nano) / NANO).normalize():f}"


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
