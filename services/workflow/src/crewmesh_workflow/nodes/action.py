"""Do something in another product through a connection. Output: ``result``."""

from __future__ import annotations

from collections.abc import Callable

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.invocations import RUN_ACTION, ActionRequest
from crewmesh_contracts.workflow.nodes.action import ActionNode

from crewmesh_workflow.expressions import Scope
from crewmesh_workflow.nodes.base import EffectContext, Reader, effect_kind
from crewmesh_workflow.nodes.members import read_object

# The integration service waits no longer for one action.
_LONGEST_ACTION_SECONDS = 600.0


def _compile(node: ActionNode, read: Reader) -> Callable[[Scope], ActionRequest]:
    inputs = read_object(read, "inputs", node.inputs)

    def render(scope: Scope) -> ActionRequest:
        return ActionRequest(
            connection=node.connection,
            action=node.action,
            inputs=inputs(scope),
            timeout_seconds=min(node.timeout_seconds, _LONGEST_ACTION_SECONDS),
        )

    return render


async def _run(request: ActionRequest, context: EffectContext) -> JsonObject:
    done = await context.call(RUN_ACTION, request)
    return done.model_dump(mode="json")


KIND = effect_kind(node=ActionNode, request=ActionRequest, compile_=_compile, run=_run)
