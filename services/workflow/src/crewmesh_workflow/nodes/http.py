"""Send one HTTP request, or deliver a webhook. Output: ``status``, ``headers``, ``body``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from uuid import uuid4

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.invocations import SEND_HTTP, HttpSend
from crewmesh_contracts.workflow.nodes.http import HttpNode
from crewmesh_kit.errors import Problem, Unavailable
from crewmesh_kit.outbound.headers import refused_headers
from crewmesh_kit.outbound.targets import BadUrlError, check_beginning, parse_target
from pydantic import ValidationError

from crewmesh_workflow.expressions import ExpressionError, Scope, Template
from crewmesh_workflow.expressions.values import as_text
from crewmesh_workflow.nodes.base import CompiledEffect, EffectContext, InvalidStepInput, Reader, kind
from crewmesh_workflow.nodes.members import fits

# The integration service accepts no longer wait than this for one answer.
_LONGEST_ANSWER_SECONDS = 120.0
_NOT_FOUND = 404
_FITS_URL = fits(HttpSend, "url")
_FITS_HEADERS = fits(HttpSend, "headers")

# What no node asks for is no part of a step's input, nor of that of the question in it.
_FOR_OTHERS = {"same_origin": True, "verify": {"same_origin": True}}


class HttpRequest(HttpSend):
    """``verify`` asks the other side whether the request took effect."""

    verify: HttpSend | None = None


def _bind(node: HttpNode, read: Reader) -> CompiledEffect:
    render = _compile(node, read)
    return CompiledEffect(
        render=lambda scope: render(scope).model_dump(mode="json", exclude=_FOR_OTHERS),
        request=HttpRequest,
        run=_run,
        safety=node.effect,
        verify=_verify if node.verify else None,
        reaches_world=node.method != "GET",
    )


def _compile(node: HttpNode, read: Reader) -> Callable[[Scope], HttpRequest]:
    url = _read_url(read, "url", node.url)
    headers = _read_headers(read, "headers", node.headers)
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


def _read_url(read: Reader, path: str, text: str) -> Template:
    """Of a URL that is filled in, its beginning is looked at."""
    url = read.template(path, text)
    read.constant(path, url, _check_url)
    beginning = next(url.parts(), None)
    if isinstance(beginning, str) and beginning != text:
        read.written(path, beginning, _check_beginning)
    return url


def _check_url(value: JsonValue) -> None:
    _FITS_URL(value)
    _as_sent(parse_target, as_text(value))


def _check_beginning(text: str) -> None:
    _as_sent(check_beginning, text)


def _as_sent(check: Callable[[str], object], text: str) -> None:
    """As the integration service reads it before it sends anything."""
    try:
        check(text)
    except BadUrlError as error:
        raise ExpressionError(f"this URL cannot be used: {error}") from None


def _read_headers(read: Reader, path: str, headers: Mapping[str, str]) -> Callable[[Scope], dict[str, str]]:
    refused = dict(refused_headers(headers))
    templates: dict[str, Template] = {}
    for name, text in headers.items():
        here = f"{path}.{name}"
        templates[name] = template = read.template(here, text)
        read.written(here, name, lambda name: _check_name(name, refused))
        read.constant(here, template, lambda value: _FITS_HEADERS({"x": value}))
    return lambda scope: {name: template.text(scope) for name, template in templates.items()}


def _check_name(name: str, refused: Mapping[str, str]) -> None:
    if name in refused:
        raise ExpressionError(refused[name])
    _FITS_HEADERS({name: ""})


def _compile_question(node: HttpNode, read: Reader) -> Callable[[Scope], HttpSend | None]:
    if node.verify is None:
        return lambda _: None
    url = _read_url(read, "verify.url", node.verify.url)
    headers = _read_headers(read, "verify.headers", node.verify.headers)
    seconds = min(node.timeout_seconds, _LONGEST_ANSWER_SECONDS)
    return lambda scope: HttpSend(method="GET", url=url.text(scope), headers=headers(scope), timeout_seconds=seconds)


def _read(journalled: JsonObject) -> HttpRequest:
    try:
        return HttpRequest.model_validate(journalled)
    except ValidationError as error:  # people may have changed it since it was rendered
        raise InvalidStepInput(error, journalled) from error


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
