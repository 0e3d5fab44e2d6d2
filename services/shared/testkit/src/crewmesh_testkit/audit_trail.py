"""Whether everything that callers change is told to the audit log: the routes there are, and the lines they left.

A service's test drives each of its routes that change something and looks for the line; a route that is neither driven
nor named as one that changes nothing fails the test, so that none is forgotten.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import cast

import pytest
from crewmesh_contracts.base import JsonValue
from crewmesh_contracts.events import AuditRecorded, Event
from crewmesh_kit.db import outbox
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crewmesh_testkit.fake_sidecar import FakeSidecar
from crewmesh_testkit.polling import until

_SECRET_NAMES = frozenset(
    {"password", "new_password", "current_password", "token", "access_token", "csrf_token", "key", "secret"}
    | {"recovery_codes", "codes", "challenge", "uri"}
)
# Shorter ones stand in other words by chance.
_LEAST_SECRET = 8
_CHANGING = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclass
class Changes:
    """What all tests of a run together did by routes of one service that change something."""

    title: str
    done: set[str] = field(default_factory=set[str])
    told: set[str] = field(default_factory=set[str])
    # What stood under the name of a secret in a body, on the way in or out; and all lines as they were published.
    secrets: set[str] = field(default_factory=set[str])
    lines: list[str] = field(default_factory=list[str])

    @property
    def silent(self) -> set[str]:
        """Routes that succeeded, and never left a line."""
        return self.done - self.told

    @property
    def leaked(self) -> set[str]:
        """Secrets that stand in a line."""
        everything = "\n".join(self.lines)
        return {secret for secret in self.secrets if secret in everything}


@dataclass
class _Request:
    told: bool = False
    status: int = 0
    asked: bytearray = field(default_factory=bytearray)
    answered: bytearray = field(default_factory=bytearray)


_request: ContextVar[_Request | None] = ContextVar("request under test", default=None)
_watching: list[Changes] = []


@contextmanager
def watching_changes(title: str) -> Generator[Changes]:
    """Notes of every request that ``running`` passes to the app of this title whether it changed something, and whether
    a line tells so."""
    changes = Changes(title)
    add = outbox.add

    async def noting(conn: AsyncConnection[DictRow], event: Event) -> None:
        request = _request.get()
        if isinstance(event, AuditRecorded):
            changes.lines.append(event.model_dump_json())
            if request is not None:
                request.told = True
        await add(conn, event)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(outbox, "add", noting)
        _watching.append(changes)
        try:
            yield changes
        finally:
            _watching.remove(changes)


def watched(app: FastAPI) -> ASGIApp:
    """The app, and what it does is noted if somebody watches."""
    return _Watched(app) if _watching else app


class _Watched:
    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._templates: dict[int, str] = {}
        self._changing: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = _Request()

        async def asked() -> Message:
            message = await receive()
            request.asked += message.get("body", b"")
            return message

        async def answered(message: Message) -> None:
            request.status = message.get("status", request.status)
            request.answered += message.get("body", b"")
            await send(message)

        _request.set(request)
        await self._app(scope, asked, answered)
        if scope["type"] == "http":
            for changes in _watching:
                if changes.title == self._app.title:
                    self._note(changes, request, scope)

    def _note(self, changes: Changes, request: _Request, scope: Scope) -> None:
        changes.secrets.update(_secrets_in(bytes(request.asked)), _secrets_in(bytes(request.answered)))
        if scope["method"] not in _CHANGING or not 200 <= request.status < 300:
            return
        if not self._templates:
            contexts = iter_route_contexts(self._app.routes)
            self._templates = {id(each.original_route): each.path or "" for each in contexts}
            self._changing = changing_routes(self._app)
        route = f"{scope['method']} {self._templates.get(id(scope.get('route')), scope['path'])}"
        if route in self._changing:  # not what is passed on to others, who have tests of their own
            changes.done.add(route)
            if request.told:
                changes.told.add(route)


def changing_routes(app: FastAPI) -> set[str]:
    """``POST /v1/crews`` and so on: the public ones that may change something."""
    return {
        f"{method} {route.path}"
        for route in iter_route_contexts(app.routes)
        if (route.path or "").startswith("/v1/") and getattr(route, "include_in_schema", False)
        for method in _CHANGING.intersection(route.methods or ())
    }


def _secrets_in(body: bytes) -> Generator[str]:
    try:
        document = cast(JsonValue, json.loads(body))
    except (ValueError, RecursionError):
        return
    yield from _secrets(document, secret=False)


def _secrets(value: JsonValue, *, secret: bool) -> Generator[str]:
    if isinstance(value, str) and secret and len(value) >= _LEAST_SECRET:
        yield value
    if isinstance(value, list):
        for each in value:
            yield from _secrets(each, secret=secret)
    if isinstance(value, dict):
        for name, member in value.items():
            yield from _secrets(member, secret=name in _SECRET_NAMES)


def audit_lines(sidecar: FakeSidecar) -> list[AuditRecorded]:
    """What was published for the log so far, the oldest first."""
    return [AuditRecorded.model_validate(event.data) for event in sidecar.published_on(AuditRecorded.topic)]


async def audit_line(sidecar: FakeSidecar, action: str, resource: str | None = None) -> AuditRecorded:
    """The last line of this action (on this resource), once it was published."""

    def found() -> AuditRecorded | None:
        lines = [line for line in audit_lines(sidecar) if line.action == action and resource in (None, line.resource)]
        return lines[-1] if lines else None

    return await until(found, seconds=60, what=f"an audit line {action} of {resource or 'anything'}")
