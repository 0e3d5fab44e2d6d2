"""How a kind of effect is described: how it reads its node, what it asks, and how the answer becomes output.

Rendering is pure and happens before the step is journalled; running reaches beyond the engine and may happen again
after a crash, with the journalled request and the same idempotency key.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from crewmesh_contracts.base import Contract, JsonObject, JsonValue, Reply
from crewmesh_contracts.invocations import Invocation
from crewmesh_contracts.workflow.nodes.base import EffectNode

from crewmesh_workflow.expressions import Condition, Scope, Template

NodeT = TypeVar("NodeT", bound=EffectNode)
RequestT = TypeVar("RequestT", bound=Contract)
ResultT = TypeVar("ResultT", bound=Reply)


class ExpressionReader(Protocol):
    """Compiles the expressions of one node; mistakes are collected under the path that is named with each."""

    def template(self, path: str, value: JsonValue) -> Template: ...

    def condition(self, path: str, source: str) -> Condition: ...


class EffectContext(Protocol):
    """What an effect may reach: other services, as the run, under the step's idempotency key."""

    async def call(self, invocation: Invocation[RequestT, ResultT], request: RequestT) -> ResultT: ...


@dataclass(frozen=True, slots=True)
class CompiledEffect:
    """An effect bound to its node. Requests are JSON here, for that is how the journal keeps them."""

    render: Callable[[Scope], JsonObject]
    run: Callable[[JsonObject, EffectContext], Awaitable[JsonObject]]


@dataclass(frozen=True, slots=True)
class EffectKind:
    """One kind of effect, found by the type of its node."""

    node: type[EffectNode]
    bind: Callable[[EffectNode, ExpressionReader], CompiledEffect]


class EffectKinds:
    """The kinds an engine knows. Tests and benchmarks build their own."""

    def __init__(self, kinds: Iterable[EffectKind]) -> None:
        self._kinds = {kind.node: kind for kind in kinds}

    def bind(self, node: EffectNode, read: ExpressionReader) -> CompiledEffect:
        return self._kinds[type(node)].bind(node, read)


def effect_kind(
    *,
    node: type[NodeT],
    request: type[RequestT],
    compile_: Callable[[NodeT, ExpressionReader], Callable[[Scope], RequestT]],
    run: Callable[[RequestT, EffectContext], Awaitable[JsonObject]],
) -> EffectKind:
    """``compile_`` reads the node's expressions and gives what renders the request; ``run`` sends it."""

    def bind(bound: EffectNode, read: ExpressionReader) -> CompiledEffect:
        if not isinstance(bound, node):
            raise TypeError(f"a {node.__name__} was expected, not a {type(bound).__name__}")
        render = compile_(bound, read)

        async def run_journalled(journalled: JsonObject, context: EffectContext) -> JsonObject:
            return await run(request.model_validate(journalled), context)

        return CompiledEffect(render=lambda scope: render(scope).model_dump(mode="json"), run=run_journalled)

    return EffectKind(node, bind)
