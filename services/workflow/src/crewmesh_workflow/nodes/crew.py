"""Let a crew of agents think. Output: ``text``, ``messages`` and ``usage``."""

from __future__ import annotations

from collections.abc import Callable

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.invocations import KICKOFF, KickoffRequest
from crewmesh_contracts.workflow.nodes.crew import CrewNode

from crewmesh_workflow.expressions import Scope
from crewmesh_workflow.nodes.base import EffectContext, Reader, effect_kind
from crewmesh_workflow.nodes.members import read_texts
from crewmesh_workflow.nodes.stop import stop_thinking
from crewmesh_workflow.nodes.thinking import WHILE_AT_WORK, until_done


def _compile(node: CrewNode, read: Reader) -> Callable[[Scope], KickoffRequest]:
    inputs = read_texts(read, "inputs", node.inputs)
    return lambda scope: KickoffRequest(crew=node.crew, inputs=inputs(scope))


async def _run(request: KickoffRequest, context: EffectContext) -> JsonObject:
    return await until_done(KICKOFF, request, context)


KIND = effect_kind(
    node=CrewNode,
    request=KickoffRequest,
    compile_=_compile,
    run=_run,
    stop=stop_thinking,
    reaches_world=False,
    later=WHILE_AT_WORK,
)
