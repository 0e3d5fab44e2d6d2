"""Send one HTTP request, or deliver a webhook. Output: ``status``, ``headers``, ``body``."""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.invocations import SEND_HTTP, HttpSend
from crewmesh_contracts.workflow.nodes.http import HttpNode
from crewmesh_kit.errors import Problem, Unavailable
from pydantic import ValidationError

from crewmesh_workflow.expressions import Scope
from crewmesh_workflow.nodes.base import CompiledEffect, EffectContext, InvalidStepInput, Reader, kind
from crewmesh_workflow.nodes.members import read_texts

# The integration service accepts no longer wait than this for one answer.
_LONGEST_ANSWER_SECONDS = 120.0
_NOT_FOUND = 404


# What no node asks for is no part of a step's input, nor of that of the question in it.
_FOR_OTHERS = {"same_origin": True, "verify": {"same_origin": True}}


class HttpRequest(HttpSend):
    """``verify`` asks the other side whether the request took effect."""

    verify: HttpSend | None = None


def _bind(node: HttpNode, read: Reader) -> CompiledEffect:
    render = _compile(node, read)
    return CompiledEffect(
        render=lambda scope: render(scope).model_dump(mode="json", exclude=_FOR_OTHERS),
        run=_run,
        safety=node.effect,
        verify=_verify if node.verify else None,
        reaches_world=node.method != "GET",
    )


def _compile(node: HttpNode, read: Reader) -> Callable[[Scope], HttpRequest]:
    url = read.template("url", node.url)
    headers = read_texts(read, "headers", node.headers)
    body = read.template("body", node.body)
    question = _compile_question(node, read)

    def render(scope: Scope) -> HttpRequest:
        return HttpRequest(
            method=node.method,
            url=url.text(scope),
            headers=headers(scope),
            body=body.value(scope),
            timeout_seconds=min(node.timeout_seconds, _LONGEST_ANSWER_SECONDS),
            repeatable=node.effect == "idempotent",
            verify=question(scope),
        )

    return render


def _compile_question(node: HttpNode, read: Reader) -> Callable[[Scope], HttpSend | None]:
    if node.verify is None:
        return lambda _: None
    url = read.template("verify.url", node.verify.url)
    headers = read_texts(read, "verify.headers", node.verify.headers)
    seconds = min(node.timeout_seconds, _LONGEST_ANSWER_SECONDS)
    return lambda scope: HttpSend(method="GET", url=url.text(scope), headers=headers(scope), timeout_seconds=seconds)


def _read(journalled: JsonObject) -> HttpRequest:
    try:
        return HttpRequest.model_validate(journalled)
    except ValidationError as error:  # people may have changed it since it was rendered
        raise InvalidStepInput(error) from error


async def _run(journalled: JsonObject, context: EffectContext) -> JsonObject:
    request = _read(journalled)
    sent = HttpSend.model_validate(request.model_dump(exclude={"verify"}))
    reply = await context.call(SEND_HTTP, sent)
    return reply.model_dump(mode="json")


async def _verify(journalled: JsonObject, context: EffectContext) -> JsonObject | None:
    question = _read(journalled).verify
    if question is None:
        raise Unavailable("The step cannot be verified: its request was journalled without a question.")
    try:
        # A key of its own, and another one each time: an answer that was kept would hide what happened since.
        reply = await context.call(SEND_HTTP, question, key=f"verify/{uuid4().hex}")
    except Problem as problem:
        if problem.extensions.get("upstream_status") == _NOT_FOUND:
            return None
        raise Unavailable(f"Whether the request took effect cannot be told now: {problem.detail}") from problem
    if reply.status >= 300:
        raise Unavailable(f"Whether the request took effect cannot be told: the question was answered {reply.status}.")
    return reply.model_dump(mode="json")


KIND = kind(HttpNode, _bind)
