"""What every node has, whatever its kind."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import ConfigDict, Field, StringConstraints

from crewmesh_contracts.base import Contract, JsonObject, Reply
from crewmesh_contracts.ids import Slug
from crewmesh_contracts.patterns import ASSIGNEE
from crewmesh_contracts.workflow.registry import Kinds

Template = Annotated[str, Field(max_length=20_000, description="Text in which {{ path }} is replaced by a value.")]
Condition = Annotated[str, Field(min_length=1, max_length=2_000, description="A CEL expression: true or false.")]
Assignee = Annotated[
    str,
    StringConstraints(pattern=ASSIGNEE),
    Field(description="Who may decide: user:<id>, role:<name or id> or team:<name or id>."),
]
Seconds = Annotated[float, Field(gt=0, le=366 * 86_400)]

ErrorClass: TypeAlias = Literal["timeout", "rate_limited", "unavailable", "server_error", "client_error", "other"]

OUT = "out"
ERROR = "error"


class AnyOutput(Reply):
    """An output whose members are known only when the node runs."""

    model_config = ConfigDict(extra="allow")


class Retry(Contract):
    """How often an effect is tried and how long it waits in between: longer each time, by ``factor``, with jitter."""

    attempts: Annotated[int, Field(ge=1, le=20)] = 5
    backoff_seconds: Annotated[float, Field(gt=0, le=3_600)] = 0.5
    factor: Annotated[float, Field(ge=1, le=10)] = 2.0
    longest_seconds: Annotated[float, Field(gt=0, le=86_400)] = 3_600.0
    jitter: Annotated[float, Field(ge=0, le=1, description="Part of each wait that is random.")] = 0.1
    on: Annotated[
        tuple[ErrorClass, ...], Field(description="Errors that are worth another attempt; by default those that pass.")
    ] = ("timeout", "rate_limited", "unavailable", "server_error")


class NodeBase(Contract):
    """A node. Its kind's class says what goes in, by its fields, and what comes out, by ``Output``."""

    model_config = ConfigDict(defer_build=True)

    Output: ClassVar[type[Reply]] = AnyOutput

    id: Slug
    name: Annotated[str, Field(max_length=200)] | None = None

    @property
    def ports(self) -> tuple[str, ...]:
        """The ways out of the node; an edge names one of them."""
        return (OUT,)


NODE_KINDS: Kinds[NodeBase] = Kinds(f"{__package__}", lambda: NodeBase)
EFFECT_KINDS: Kinds[EffectNode] = Kinds(f"{__package__}", lambda: EffectNode)


class Compensation(Contract):
    """An effect that undoes another; it sees the scope of the step it undoes, with that step's output."""

    model_config = ConfigDict(defer_build=True)

    do: Annotated[NodeBase, EFFECT_KINDS]


class EffectNode(NodeBase):
    """A node that reaches beyond the engine, so that it can fail, be slow, and be tried again."""

    retry: Retry = Retry()
    timeout_seconds: Annotated[float, Field(gt=0, le=86_400)] = 120.0
    on_error: Annotated[
        Literal["fail", "continue", "handle"],
        Field(
            description="When no attempt is left: fail the run, go on with {error} as output, or leave by port error."
        ),
    ] = "fail"
    approval: Annotated[
        Literal["policy", "always", "never"],
        Field(description="Whether a person must agree first; policy: as the workflow's settings say."),
    ] = "policy"
    sample: Annotated[
        JsonObject | None, Field(description="Output in test runs, in which no effect is done; pinned by the author.")
    ] = None
    compensate: Annotated[
        Compensation | None, Field(description="What undoes this step when the run fails or is cancelled later.")
    ] = None

    @property
    def ports(self) -> tuple[str, ...]:
        return (OUT, ERROR) if self.on_error == "handle" else (OUT,)
