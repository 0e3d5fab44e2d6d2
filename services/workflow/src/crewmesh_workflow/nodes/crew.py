"""Let a crew of agents think. Output: ``text``, ``messages`` and ``usage``."""

from __future__ import annotations

from collections.abc import Callable

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.invocations import KICKOFF, KickoffRequest
from crewmesh_contracts.workflow.nodes.crew import CrewNode

from crewmesh_workflow.expressions import Scope
from crewmesh_workflow.nodes.base import EffectContext, Reader, effect_kind
from crewmesh_workflow.nodes.hearsay import is_from_steps
from crewmesh_workflow.nodes.stop import stop_thinking
from crewmesh_workflow.nodes.thinking import WHILE_AT_WORK, until_done


def _compile(node: CrewNode, read: Reader) -> Callable[[Scope], KickoffRequest]:
    inputs = {name: read.template(f"inputs.{name}", text) for name, text in node.inputs.items()}
    return lambda scope: KickoffRequest(
        crew=node.crew,
        inputs={name: text.text(scope) for name, text in inputs.items()},
        from_steps=tuple(name for name, text in inputs.items() if is_from_steps(text, scope)),
    )


async def _run(request: KickoffRequest, context: EffectContext) -> JsonObject:
    return await until_done(KICKOFF, request, context)


KIND = effect_kind(
    node=CrewNode,
    request=KickoffRequest,
    compile_=_compile,
    run=_run,
    stop=stop_thinking,
    reaches_world=False,
    refused_by_key=False,
    later=WHILE_AT_WORK,
)
