"""CloudEvents 1.0: the envelope anybody may publish, and the events that Crewmesh publishes itself.

Topic and type of our own events are derived from the class, so that neither can be mistyped:
``RunCompleted`` in ``RunEvent`` travels on topic ``runs`` as ``crewmesh.run.completed.v1``.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from crewmesh_contracts.base import Contract, JsonObject, JsonValue
from crewmesh_contracts.ids import OrganizationId, RunId, WorkflowId

EVENTS_TOPIC = "events"
_EXTENSION_NAME = re.compile(r"^[a-z0-9]{1,20}$")

LONGEST_ATTRIBUTE = 1024
_Text = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_ATTRIBUTE)]


RESERVED = "crewmesh."
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def wrong_type(type_: str) -> str | None:
    """Why nobody but the platform may send an event of this type, and what to do; none, where anybody may.

    No part of the model: runs of definitions that were saved before there was this rule still send what they say.
    """
    if type_.startswith(RESERVED):
        return (
            f"types that begin with {RESERVED} are the platform's own, which nobody else sends and which start "
            "nothing; choose another (for ends of runs there is the trigger run_ended)"
        )
    if _CONTROL.search(type_):
        return "a type holds no line breaks and no other control characters; remove them"
    return None if type_ == type_.strip() else "a type neither begins nor ends with a blank; remove it"


class CloudEvent(BaseModel):
    """A CloudEvent 1.0 in structured JSON form. Extension attributes are allowed when they are plain strings."""

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, str] = Field(init=False)  # pyright: ignore[reportIncompatibleVariableOverride]

    specversion: Literal["1.0"] = "1.0"
    id: Annotated[str, StringConstraints(min_length=1, max_length=256)]
    source: _Text
    type: _Text
    subject: _Text | None = None
    time: datetime | None = None
    datacontenttype: Annotated[str, StringConstraints(pattern=r"^application/([\w.+-]+\+)?json$")] = "application/json"
    dataschema: _Text | None = None
    data: JsonValue = None
    crewmeshorg: OrganizationId | None = Field(
        default=None, description="The organization the event belongs to; set by the gateway, or by a trusted producer."
    )

    @model_validator(mode="after")
    def _extensions_are_named_as_the_standard_says(self) -> CloudEvent:
        for name in self.model_extra or {}:
            if not _EXTENSION_NAME.match(name):
                raise ValueError(f"extension attribute {name[:40]!r} must be 1 to 20 lower-case letters or digits")
        return self


class Event(Contract):
    """Something that happened in Crewmesh. Subclasses name it in the past tense: ``<Subject><PastTense>``."""

    topic: ClassVar[str]
    version: ClassVar[int] = 1

    organization: OrganizationId

    @classmethod
    def type(cls) -> str:
        words = [word.lower() for word in re.findall(r"[A-Z][a-z0-9]*", cls.__name__)]
        return f"crewmesh.{'.'.join(['_'.join(words[:-1]), words[-1]])}.v{cls.version}"


class OrganizationCreated(Event):
    """An organization exists from now on; services give it its starting content."""

    topic: ClassVar[str] = "organizations"

    name: str


class OrganizationStatusChanged(Event):
    """An organization is about to be deleted, or is not any more. Meanwhile nothing of it starts by itself.

    ``at`` orders these events: an older one that comes late does not count.
    """

    topic: ClassVar[str] = "organizations"

    status: Literal["active", "deleting"]
    at: datetime


class OrganizationDeleted(Event):
    """The grace period of a deleted organization is over; services forget everything they hold of it."""

    topic: ClassVar[str] = "organizations"


class RetentionChanged(Event):
    """How long an organization's data of one kind is kept from now on. Nothing: as long as the service says."""

    topic: ClassVar[str] = "organizations"

    kind: str
    days: Annotated[int, Field(ge=1)] | None


class AuditRecorded(Event):
    """Somebody changed something, or tried to and was not let. It becomes a line of the audit log."""

    topic: ClassVar[str] = "audit"

    id: str
    at: datetime
    actor: str = Field(description="Who did it: a user, a key, a service account, a run; or anonymous.")
    acting_for: str | None = Field(description="On whose behalf, where that is somebody else.")
    action: str = Field(
        pattern=r"^[a-z]+(-[a-z]+)*\.[a-z]+(-[a-z]+)*$",
        description="<resource>.<past tense>, such as workflow.published or api-key.created.",
    )
    resource: str = Field(description="What it was done to, by its id.")
    outcome: Literal["done", "denied"]
    before: JsonValue = None
    after: JsonValue = None
    address: str | None = None
    agent: str | None = None
    trace: str | None = None


class RunEvent(Event):
    """Base of what is told about a run on the topic ``runs``."""

    topic: ClassVar[str] = "runs"

    run: RunId
    workflow: WorkflowId
    workflow_version: int


class RunStarted(RunEvent):
    """A run was acknowledged and will end, whatever dies on the way."""


class RunCompleted(RunEvent):
    """A run reached its end."""

    output: JsonObject


class RunFailed(RunEvent):
    """A run ended without reaching its goal."""

    node: str | None
    error: str


class RunCancelled(RunEvent):
    """A run was ended because somebody asked for it."""


class ApprovalEvent(RunEvent):
    """Base of what is told about a question to people: approve this, fill in this form, tell what came of a step."""

    approval: str
    kind: Literal["approval", "input", "outcome"]
    title: str


class ApprovalRequested(ApprovalEvent):
    """Somebody is asked to decide. ``assignees`` is empty when everybody may who decides approvals."""

    assignees: tuple[str, ...]
    until: datetime | None


class ApprovalEscalated(ApprovalEvent):
    """Nobody has decided in time; those in ``to`` are asked as well from now on."""

    to: tuple[str, ...]
    until: datetime | None


class ApprovalDecided(ApprovalEvent):
    """It is decided, and the run goes on. ``by`` is whose word was the last that was needed."""

    verdict: Literal["approved", "rejected", "answered", "happened", "not_happened", "failed"]
    by: str


class BudgetEvent(Event):
    """Base of what is told about a budget for models on the topic ``budgets``. Amounts: US dollars, exact decimals."""

    topic: ClassVar[str] = "budgets"

    budget: str
    name: str
    scope_kind: str
    scope_id: str = Field(description="Whose share of the budget it is: a run, a workflow, a team, the organization…")
    period: str
    period_start: datetime
    limit: str
    spent: str


class BudgetWarningReached(BudgetEvent):
    """Four fifths of a budget are spent in this period."""


class BudgetExhausted(BudgetEvent):
    """A budget has nothing left in this period, or not enough for what was to be asked."""


AgentActivity: TypeAlias = Literal["idle", "thinking", "calling_tool", "waiting"]


class AgentStatusChanged(Event):
    """What an agent does now, at most twice a second. A picture of the moment, which may be lost on its way."""

    topic: ClassVar[str] = "agents"

    agent: str
    crew_run: str
    status: AgentActivity


PUBLISHED_EVENTS: tuple[type[Event], ...] = (
    OrganizationCreated,
    OrganizationStatusChanged,
    OrganizationDeleted,
    RetentionChanged,
    AuditRecorded,
    RunStarted,
    RunCompleted,
    RunFailed,
    RunCancelled,
    ApprovalRequested,
    ApprovalEscalated,
    ApprovalDecided,
    BudgetWarningReached,
    BudgetExhausted,
    AgentStatusChanged,
)
