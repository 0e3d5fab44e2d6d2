"""Send one HTTP request, or deliver a webhook. Output: ``status``, ``headers``, ``body``."""

from __future__ import annotations

from collections.abc import Callable

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.invocations import SEND_HTTP, HttpSend
from crewmesh_contracts.workflow.nodes import HttpNode

from crewmesh_workflow.expressions import Scope
from crewmesh_workflow.nodes.base import EffectContext, ExpressionReader, effect_kind

# The integration service accepts no longer wait than this for one answer.
_LONGEST_ANSWER_SECONDS = 120.0


def _compile(node: HttpNode, read: ExpressionReader) -> Callable[[Scope], HttpSend]:
    url = read.template("url", node.url)
    headers = {name: read.template(f"headers.{name}", text) for name, text in node.headers.items()}
    body = read.template("body", node.body)

    def render(scope: Scope) -> HttpSend:
        return HttpSend(
            method=node.method,
            url=url.text(scope),
            headers={name: text.text(scope) for name, text in headers.items()},
            body=body.value(scope),
            timeout_seconds=min(node.timeout_seconds, _LONGEST_ANSWER_SECONDS),
        )

    return render


async def _run(request: HttpSend, context: EffectContext) -> JsonObject:
    reply = await context.call(SEND_HTTP, request)
    return reply.model_dump(mode="json")


HTTP = effect_kind(node=HttpNode, request=HttpSend, compile_=_compile, run=_run)
