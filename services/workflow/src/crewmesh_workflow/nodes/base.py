"""What a kind of node does: it is decided where it stands, has an effect, waits, or holds a graph of its own.

Everything here but ``CompiledEffect.run`` (and ``begin`` of a wait) is pure: it gives the same answer after any crash.
Effects are rendered before the step is journalled and run after; a run may happen again, with the journalled request
and the same idempotency key.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pkgutil import iter_modules
from typing import Generic, Literal, Protocol, TypeVar, cast

from crewmesh_contracts.base import Contract, JsonObject, JsonValue, Reply
from crewmesh_contracts.invocations import Invocation, Payer
from crewmesh_contracts.workflow import Graph
from crewmesh_contracts.workflow.nodes.base import OUT, EffectNode, NodeBase
from crewmesh_kit.errors import ValidationFailed
from crewmesh_kit.misshapen import ShapeError, sentence, told
from pydantic import ValidationError

from crewmesh_workflow.expressions import Condition, ExpressionError, Scope, Template
from crewmesh_workflow.program.model import CompiledGraph
from crewmesh_workflow.sandbox.model import CodeRequest, CodeResult

NodeT = TypeVar("NodeT", bound=NodeBase)
EffectT = TypeVar("EffectT", bound=EffectNode)
RequestT = TypeVar("RequestT", bound=Contract)
ResultT = TypeVar("ResultT", bound=Reply)
ValueT = TypeVar("ValueT")

WaitKind = Literal["timer", "event", "approval", "input", "outcome", "child"]


class Reader(Protocol):
    """Compiles what stands in a node; mistakes are collected under the path that is named with each."""

    def template(self, path: str, value: JsonValue) -> Template: ...

    def condition(self, path: str, source: str, *, reads: tuple[str, ...] = ()) -> Condition:
        """``reads`` names roots beside those of the place: event, node, input."""
        ...

    def graph(self, path: str, graph: Graph, *, reads: tuple[str, ...] = ()) -> CompiledGraph:
        """A nested graph, which also sees the steps before its holder. ``reads``: item, index, last."""
        ...

    def mistake(self, path: str, message: str) -> None: ...

    def written(self, path: str, value: ValueT, judge: Callable[[ValueT], object]) -> None:
        """``judge`` raises ExpressionError where what is written can never work. Told on saving, and not later."""
        ...

    def constant(self, path: str, template: Template, judge: Callable[[JsonValue], object]) -> None:
        """As ``written``, for a template without expressions: what its value will be is known."""
        ...


@dataclass(frozen=True, slots=True)
class Emitted:
    """An event that leaves with the step's commit. ``id`` must be the same whenever the node is decided again."""

    id: str
    type: str
    subject: str | None
    data: JsonValue


@dataclass(frozen=True, slots=True)
class Decided:
    """A step's end: its output and the ports that are taken, and what goes with it."""

    output: JsonObject
    ports: tuple[str, ...] = (OUT,)
    sets: Mapping[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    emits: Emitted | None = None
    response: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The node decides that the step fails."""

    type: str
    detail: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a step is: its run, its path in it, and what the node sees."""

    run: str
    path: str
    scope: Scope


@dataclass(frozen=True, slots=True)
class Decision:
    """Decided where it stands. Raises ExpressionError when an expression has no value."""

    decide: Callable[[Place], Decided | Refused]


class InvalidStepInput(ValidationFailed):
    """The input of a step is not what its kind of node takes; ``errors`` lists each place and what is wrong there."""

    slug, title = "invalid-step-input", "Invalid step input"

    def __init__(self, error: ValidationError, given: object = None, *within: str) -> None:
        """``given`` is what was wrong, where it is still in hand; ``within``, where it stands in what was sent."""
        found = cast("list[ShapeError]", error.errors(include_url=False))
        mistakes = told(found, given) if given is not None else [(each["loc"], sentence(each)) for each in found]
        self.mistakes = [(".".join((*within, *map(str, loc))), message) for loc, message in mistakes]
        super().__init__(
            "The input is not what this step takes; correct each place named.",
            errors=[{"path": path, "message": message} for path, message in self.mistakes],
        )


class NotYet(Exception):  # noqa: N818  not an error: the effect is under way, and something else comes first
    """The effect is neither done nor failed; its step is put off, and goes on under the same key."""


class AfterApproval(NotYet):
    """People have to say yes or no first. What they say is added to the step's input, under ``verdicts``."""

    def __init__(self, *, question: str, title: str, about: JsonObject, data: JsonValue) -> None:
        super().__init__(title)
        self.question = question
        self.title = title
        self.about = about
        self.data = data


class AfterPause(NotYet):
    """Nothing can be done for a while. Waiting costs no attempt."""

    def __init__(self, reason: str, detail: str, *, seconds: float) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
        self.seconds = seconds


class EffectContext(Protocol):
    """What an effect may reach: other services, as the run, under the step's idempotency key."""

    @property
    def key(self) -> str: ...

    @property
    def payer(self) -> Payer:
        """In whose name models are asked."""
        ...

    @property
    def seconds_left(self) -> float:
        """Of the time that this attempt may take."""
        ...

    async def call(
        self, invocation: Invocation[RequestT, ResultT], request: RequestT, *, key: str | None = None
    ) -> ResultT:
        """Under the step's key, or under ``key``: to ask about the step is not to do it again."""
        ...

    async def start_child(self, workflow: str, inputs: JsonObject) -> str:
        """Start a run of another workflow for this step, once; its id."""
        ...

    async def run_code(self, request: CodeRequest) -> CodeResult:
        """Run code of a user in the sandbox."""
        ...


@dataclass(frozen=True, slots=True)
class CompiledEffect:
    """An effect bound to its node. Requests are JSON here, for that is how the journal keeps them.

    ``safety`` says what a second attempt does when nobody knows whether the first one happened. ``verify`` asks: the
    output when it happened, nothing when it did not. ``stop`` ends an attempt that is under way elsewhere.
    ``reaches_world``: whether it is an action that a policy may want approved. ``request``: what an input must be.
    ``refused_by_key``: whether a refusal is kept under the key, so that another attempt needs another one; work of
    agents keeps its key for good.
    """

    render: Callable[[Scope], JsonObject]
    request: type[Contract]
    run: Callable[[JsonObject, EffectContext], Awaitable[JsonObject]]
    safety: Literal["idempotent", "verifiable", "unsafe"] = "idempotent"
    verify: Callable[[JsonObject, EffectContext], Awaitable[JsonObject | None]] | None = None
    stop: Callable[[EffectContext], Awaitable[None]] | None = None
    reaches_world: bool = True
    refused_by_key: bool = True

    def judge(self, input_: JsonObject, *within: str) -> None:
        """InvalidStepInput when people put this in place of the rendered input, and the effect would refuse it."""
        try:
            self.request.model_validate(input_)
        except ValidationError as error:
            raise InvalidStepInput(error, input_, *within) from error


@dataclass(frozen=True, slots=True)
class WaitFor:
    """What a step waits for, rendered. ``seconds`` bounds the wait, or is all of it; none: for ever."""

    kind: WaitKind
    request: JsonObject = field(default_factory=dict[str, JsonValue])
    seconds: float | None = None
    event_type: str | None = None
    event_key: str | None = None
    escalate_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A node that waits. ``arrived`` turns what came into the step's end, ``over`` the end of the time.

    The latter is told the moment at which it was over (ISO 8601). ``begin`` is an effect, done when the wait is in the
    journal, and again after a crash; it must bear that. ``not_begun``: the output beside the error when that failed and
    the step leaves by port error; none: the step fails.
    """

    render: Callable[[Place], WaitFor]
    arrived: Callable[[JsonObject], Decided | Refused]
    over: Callable[[str], Decided | Refused]
    begin: Callable[[JsonObject, EffectContext], Awaitable[None]] | None = None
    not_begun: JsonObject | None = None


@dataclass(frozen=True, slots=True)
class Each:
    """A body for every item of a list."""

    items: Callable[[Scope], list[JsonValue]]
    body: CompiledGraph
    concurrency: int
    keep_going: bool


@dataclass(frozen=True, slots=True)
class Repeat:
    """A body as long as a condition is true."""

    condition: Condition
    body: CompiledGraph
    most: int


@dataclass(frozen=True, slots=True)
class Meeting:
    """A join: it is reached when ``needed`` ways to it are taken; none: when all are decided."""

    needed: int | None


Behaviour = Decision | CompiledEffect | Waiting | Each | Repeat | Meeting


@dataclass(frozen=True, slots=True)
class NodeKind(Generic[NodeT]):
    """One kind of node, found by the type of its node."""

    node: type[NodeT]
    bind: Callable[[NodeT, Reader], Behaviour]


def _check_timeout(seconds: float) -> None:
    """Kinds with a time of their own have no bound in the contract, and what was saved without one still runs."""
    if not seconds > 0:
        raise ExpressionError("an attempt needs more than 0 seconds; give it more, or leave this away")


class NodeKinds:
    """The kinds an engine knows. Tests and benchmarks replace some of them."""

    def __init__(self, *kinds: NodeKind[NodeBase]) -> None:
        self._kinds = {kind.node: kind for kind in kinds}

    def bind(self, node: NodeBase, read: Reader) -> Behaviour:
        if isinstance(node, EffectNode):
            read.written("timeout_seconds", node.timeout_seconds, _check_timeout)
        return self._kinds[type(node)].bind(node, read)

    def but(self, *others: NodeKind[NodeBase]) -> NodeKinds:
        """These kinds with others in place of those for the same nodes."""
        return NodeKinds(*({**self._kinds, **{kind.node: kind for kind in others}}.values()))


def kind(node: type[NodeT], bind: Callable[[NodeT, Reader], Behaviour]) -> NodeKind[NodeBase]:
    """Describe one kind. Every module of this package calls this once, as its ``KIND``."""

    def bind_any(bound: NodeBase, read: Reader) -> Behaviour:
        if not isinstance(bound, node):
            raise TypeError(f"a {node.__name__} was expected, not a {type(bound).__name__}")
        return bind(bound, read)

    return NodeKind(node, bind_any)  # pyright: ignore[reportArgumentType]  a kind of one node stands among kinds of any


def effect_kind(
    *,
    node: type[EffectT],
    request: type[RequestT],
    compile_: Callable[[EffectT, Reader], Callable[[Scope], RequestT]],
    run: Callable[[RequestT, EffectContext], Awaitable[JsonObject]],
    safety: Callable[[EffectT], Literal["idempotent", "verifiable", "unsafe"]] = lambda _: "idempotent",
    stop: Callable[[EffectContext], Awaitable[None]] | None = None,
    reaches_world: bool = True,
    refused_by_key: bool = True,
    later: frozenset[str] = frozenset(),
) -> NodeKind[NodeBase]:
    """``compile_`` reads the node's expressions and gives what renders the request; ``run`` sends it.

    ``later``: members of the request that are filled in while it runs, and are no part of the step's input.
    """

    def bind(bound: EffectT, read: Reader) -> CompiledEffect:
        render = compile_(bound, read)

        async def run_journalled(journalled: JsonObject, context: EffectContext) -> JsonObject:
            try:
                valid = request.model_validate(journalled)
            except ValidationError as error:  # people may have changed it since it was rendered
                raise InvalidStepInput(error, journalled) from error
            return await run(valid, context)

        return CompiledEffect(
            render=lambda scope: render(scope).model_dump(mode="json", exclude=set(later)),
            request=request,
            run=run_journalled,
            safety=safety(bound),
            stop=stop,
            reaches_world=reaches_world,
            refused_by_key=refused_by_key,
        )

    return kind(node, bind)


def find_kinds(package: str) -> NodeKinds:
    """The kind of every module of the package."""
    found: list[NodeKind[NodeBase]] = []
    for module in iter_modules(import_module(package).__path__):
        described: NodeKind[NodeBase] | None = getattr(import_module(f"{package}.{module.name}"), "KIND", None)
        if described is not None:
            found.append(described)
    return NodeKinds(*found)
