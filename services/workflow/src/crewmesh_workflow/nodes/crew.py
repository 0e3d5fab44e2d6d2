"""Let a crew of agents think. Output: ``text``, ``messages`` and ``usage``."""

from __future__ import annotations

from collections.abc import Callable

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.invocations import KICKOFF, KickoffRequest
from crewmesh_contracts.workflow.nodes import CrewNode

from crewmesh_workflow.expressions import Scope
from crewmesh_workflow.nodes.base import EffectContext, ExpressionReader, effect_kind


def _compile(node: CrewNode, read: ExpressionReader) -> Callable[[Scope], KickoffRequest]:
    inputs = {name: read.template(f"inputs.{name}", text) for name, text in node.inputs.items()}

    def render(scope: Scope) -> KickoffRequest:
        return KickoffRequest(crew=node.crew, inputs={name: text.text(scope) for name, text in inputs.items()})

    return render


async def _run(request: KickoffRequest, context: EffectContext) -> JsonObject:
    result = await context.call(KICKOFF, request)
    return result.model_dump(mode="json")


CREW = effect_kind(node=CrewNode, request=KickoffRequest, compile_=_compile, run=_run)
