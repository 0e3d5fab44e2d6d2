"""The few ASGI layers every request passes. Each is plain ASGI, for they stand on every hot path."""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from opentelemetry import trace
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from crewmesh_kit.errors import NotFound, PayloadTooLarge, Problem, Unauthenticated
from crewmesh_kit.http.problems import ProblemResponse, translated
from crewmesh_kit.logs import get_logger
from crewmesh_kit.speakable import speakable

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/version", "/metrics"})
EDGE_PATHS = frozenset({"/", "/openapi.json", "/docs", "/.well-known/jwks.json"})
EDGE_PREFIX = "/v1/"
TOPICS_PREFIX = "/subscriptions/"
# Sidecars pass no Content-Length on. They end an answer that was cut off as if it were whole, and make an empty 200 of
# none at all. So every answer of a service says how long it is, or that it is a stream.
LENGTH_HEADER = "crewmesh-length"
_STREAM = b"stream"
_TOKEN_HEADER = b"dapr-api-token"

log = get_logger(__name__)


class LastResort:
    """What nobody foresaw is logged with its stack and answered as a problem, never with the stack."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            log.exception("request failed unexpectedly", method=scope["method"], path=speakable(scope["path"]))
            trace.get_current_span().record_exception(error)
            if begun:
                raise  # half an answer cannot be taken back; the server cuts the connection
            await ProblemResponse(translated(error), path=scope["path"])(scope, receive, send)


class ToldLength:
    """Says how long an answer is in a header that the sidecars leave alone, so that the caller knows a whole one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        bodiless = scope["method"] == "HEAD"

        async def telling(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers: list[tuple[bytes, bytes]] = message["headers"]
                length = next((value for name, value in headers if name == b"content-length"), _STREAM)
                told = (LENGTH_HEADER.encode(), _STREAM if bodiless else length)
                message = {**message, "headers": [*headers, told]}
            await send(message)

        await self._app(scope, receive, telling)


class SidecarOnly:
    """Lets in what carries the token that the app shares with its sidecar; probes need none.

    On the edge, the public paths are open to everybody (they authenticate callers themselves), and everything else does
    not exist for who is not the sidecar.
    """

    def __init__(self, app: ASGIApp, *, token: str, edge: bool) -> None:
        self._app = app
        self._token = token.encode()
        self._edge = edge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or self._is_open(scope["path"]) or self._has_token(scope["headers"]):
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        refusal: Problem = (
            NotFound(f"There is nothing at {path}. /openapi.json lists every path.")
            if self._edge
            else Unauthenticated("This port answers its own sidecar only; call the service through Dapr.")
        )
        await ProblemResponse(refusal, path=path)(scope, receive, send)

    def _is_open(self, path: str) -> bool:
        return path in OPEN_PATHS or (self._edge and (path.startswith(EDGE_PREFIX) or path in EDGE_PATHS))

    def _has_token(self, headers: Iterable[tuple[bytes, bytes]]) -> bool:
        return any(name == _TOKEN_HEADER and hmac.compare_digest(value, self._token) for name, value in headers)


class BodyLimit:
    """Refuses a body that is too large: at once by its declared length, else as soon as it has grown too large.

    FastAPI's own limit answers a declared length in plain text, before any handler of ours could.
    """

    def __init__(self, app: ASGIApp, *, most_bytes: int) -> None:
        self._app = app
        self._most = most_bytes
        self._refusal = f"The body is larger than {most_bytes} bytes. Send less, or in several requests."

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        length = next((value for name, value in scope.get("headers", ()) if name == b"content-length"), None)
        if length is not None and scope["type"] == "http":
            # A message from a topic arrives as base64, a third larger than what its producer was allowed to send.
            most = self._most * 2 if scope["path"].startswith(TOPICS_PREFIX) else self._most
            # The server holds the body to its declared length, so a small one needs no counting.
            if not length.isdigit() or int(length) > most:
                await ProblemResponse(PayloadTooLarge(self._refusal), path=scope["path"])(scope, receive, send)
                return
            await self._app(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._most:
                # FastAPI lets this type, and no other, pass through its reading of the body.
                raise HTTPException(413, self._refusal)
            return message

        await self._app(scope, counted, send)
