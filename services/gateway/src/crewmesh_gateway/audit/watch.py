"""Looks at every answer that refuses, of the gateway itself and of the services behind it alike.

Plain ASGI around everything else: what is not refused costs one comparison. The problem document of the answer tells
why; who was refused has been noted by the doorkeeper, or is recognized by what was shown.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.background import Background
from crewmesh_kit.metrics import route_templates
from crewmesh_kit.origin import Origin
from crewmesh_kit.resources import Resources
from crewmesh_kit.speakable import speakable
from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crewmesh_gateway.audit.attempts import Attempt, begin_attempt
from crewmesh_gateway.audit.denials import Denials, Refusal
from crewmesh_gateway.audit.recognition import Recognition
from crewmesh_gateway.principals.doorkeeper import Doorkeeper
from crewmesh_gateway.proxy.headers import plain

_WATCHED = "/v1/"
_REFUSED = (401, 403)
_MOST_BYTES = 16 * 1024
_LONGEST_AGENT = 300
_LONGEST_PERMISSION = 100


@dataclass(slots=True)
class _Answer:
    status: int = 0
    body: bytes = b""


class DenialWatch:
    def __init__(self, app: ASGIApp, *, resources: Resources) -> None:
        self._app = app
        self._resources = resources
        self._templates: dict[int, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(_WATCHED):
            await self._app(scope, receive, send)
            return
        attempt = begin_attempt()
        answer = _Answer()

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
            elif answer.status in _REFUSED and len(answer.body) < _MOST_BYTES:
                answer.body += message.get("body", b"")
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            if answer.status in _REFUSED:
                self._note(scope, attempt, answer)

    def _note(self, scope: Scope, attempt: Attempt, answer: _Answer) -> None:
        headers = plain(scope["headers"])
        refusal = self._refusal(scope, headers, answer.status, _document(answer.body))
        if attempt.principal is not None and not attempt.principal.has_organization:
            return  # there is no log that it could be in
        if attempt.principal is not None:
            self._resources.get(Denials).note(attempt.principal.identity, refusal)
        elif "authorization" in headers or "x-api-key" in headers:
            self._resources.get(Background).start("recognizing who was refused", self._recognize(headers, refusal))

    async def _recognize(self, headers: Mapping[str, str], refusal: Refusal) -> None:
        actor = await self._resources.get(Recognition).of(headers)
        if actor is not None:
            self._resources.get(Denials).note(actor, refusal)

    def _refusal(self, scope: Scope, headers: Mapping[str, str], status: int, problem: JsonObject) -> Refusal:
        client = scope["client"]
        address = self._resources.get(Doorkeeper).address(headers, client[0] if client else "unknown")
        permission, trace = problem.get("permission"), problem.get("trace_id")
        return Refusal(
            method=scope["method"],
            route=self._template(scope),
            path=speakable(scope["path"]),
            status=status,
            problem=str(problem.get("type", "")).rsplit("/", 1)[-1],
            permission=permission[:_LONGEST_PERMISSION] if isinstance(permission, str) else None,
            origin=Origin(address, headers.get("user-agent", "")[:_LONGEST_AGENT] or None),
            trace=trace if isinstance(trace, str) else None,
        )

    def _template(self, scope: Scope) -> str:
        if not self._templates:
            self._templates = route_templates(cast(FastAPI, scope["app"]))
        return self._templates.get(id(scope.get("route")), "")


def _document(body: bytes) -> JsonObject:
    try:
        document = cast(object, json.loads(body))
    except (ValueError, RecursionError):
        return {}
    return cast(JsonObject, document) if isinstance(document, dict) else {}
