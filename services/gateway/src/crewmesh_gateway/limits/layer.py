"""What every answer of the gateway passes on its way out, and every stranger on the way in.

Requests of strangers (logins, webhooks, links in mails) are counted here, by the address they come from; those of
somebody known are counted where they become known, in the doorkeeper. Whatever was counted says so in its answer. The
gateway's own routes must answer within a time; what goes to a service has times of its own, in the proxy.
"""

from __future__ import annotations

import asyncio

from crewmesh_kit.errors import Problem
from crewmesh_kit.http.middleware import EDGE_PATHS
from crewmesh_kit.http.problems import ProblemResponse
from crewmesh_kit.resources import Resources
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crewmesh_gateway.limits.errors import AnswerTooSlow, RateLimited
from crewmesh_gateway.limits.gate import Gate
from crewmesh_gateway.principals.doorkeeper import Doorkeeper
from crewmesh_gateway.proxy.errors import SlowBody
from crewmesh_gateway.proxy.headers import plain
from crewmesh_gateway.proxy.routing import OWN_RESOURCES, PUBLIC_RESOURCES
from crewmesh_gateway.settings import Settings

# Own resources with routes that need no credential.
_OPEN_RESOURCES = frozenset({"auth", "invitations"})
_PREFIX = "/v1/"


def is_open_to_strangers(path: str) -> bool:
    resource = _resource(path)
    return path in EDGE_PATHS if resource is None else resource in _OPEN_RESOURCES or resource in PUBLIC_RESOURCES


class RateLimitLayer:
    def __init__(self, app: ASGIApp, *, resources: Resources) -> None:
        self._app = app
        self._resources = resources

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        gate = self._resources.get(Gate)

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start" and (headers := gate.headers(scope)):
                message = {**message, "headers": [*message["headers"], *headers]}
            await send(message)

        if is_open_to_strangers(scope["path"]):
            try:
                gate.stranger(scope, self._address(scope))
            except RateLimited as refusal:
                await ProblemResponse(refusal, path=scope["path"])(scope, receive, telling)
                return
        await self._app(scope, receive, telling)

    def _address(self, scope: Scope) -> str:
        client = scope["client"]
        return self._resources.get(Doorkeeper).address(plain(scope["headers"]), client[0] if client else "unknown")


class AnswerInTime:
    """The gateway's own routes begin to answer within a time, or their work is given up."""

    def __init__(self, app: ASGIApp, *, resources: Resources) -> None:
        self._app = app
        self._resources = resources

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or _resource(scope["path"]) not in OWN_RESOURCES:
            await self._app(scope, receive, send)
            return
        seconds = self._resources.get(Settings).limits.answer_seconds
        arrived = False
        patience = asyncio.timeout(seconds)

        async def reading() -> Message:
            nonlocal arrived
            message = await receive()
            arrived = not message.get("more_body", False)
            return message

        async def answering(message: Message) -> None:
            if message["type"] == "http.response.start" and not patience.expired():
                patience.reschedule(None)
            await send(message)

        try:
            async with patience:
                await self._app(scope, reading, answering)
        except TimeoutError:
            if not patience.expired():
                raise
            problem: Problem = AnswerTooSlow(seconds) if arrived else SlowBody(seconds)
            await ProblemResponse(problem, path=scope["path"])(scope, receive, send)


def _resource(path: str) -> str | None:
    return path.split("/", 3)[2] if path.startswith(_PREFIX) else None
