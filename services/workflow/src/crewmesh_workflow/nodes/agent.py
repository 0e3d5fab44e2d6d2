"""Give one agent a task. Output: ``text``, ``data``, ``messages`` and ``usage``."""

from __future__ import annotations

from collections.abc import Callable

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.invocations import ASK_AGENT, AgentRequest
from crewmesh_contracts.workflow.nodes.agent import AgentNode

from crewmesh_workflow.expressions import Scope
from crewmesh_workflow.nodes.base import EffectContext, Reader, effect_kind
from crewmesh_workflow.nodes.hearsay import filled_in
from crewmesh_workflow.nodes.members import fits
from crewmesh_workflow.nodes.stop import stop_thinking
from crewmesh_workflow.nodes.thinking import WHILE_AT_WORK, until_done

_FITS_TASK = fits(AgentRequest, "task")


def _compile(node: AgentNode, read: Reader) -> Callable[[Scope], AgentRequest]:
    task_, expected = read.template("task", node.task), read.template("expected", node.expected)
    parts = [*task_.parts()]
    computed = any(True for _ in expected.expressions())
    if not computed:
        read.constant("task", task_, _FITS_TASK)
    if computed:  # it is said behind the task, where it is known what is filled in
        parts += ["\n\n", *expected.parts()]

    def render(scope: Scope) -> AgentRequest:
        task, stretches = filled_in(parts, scope)
        return AgentRequest(
            agent=node.agent,
            task=task,
            filled_in=stretches,
            expected="" if computed else node.expected,
            output_schema=node.output_schema,
        )

    return render


async def _run(request: AgentRequest, context: EffectContext) -> JsonObject:
    return await until_done(ASK_AGENT, request, context)


KIND = effect_kind(
    node=AgentNode,
    request=AgentRequest,
    compile_=_compile,
    run=_run,
    stop=stop_thinking,
    reaches_world=False,
    refused_by_key=False,
    later=WHILE_AT_WORK,
)
