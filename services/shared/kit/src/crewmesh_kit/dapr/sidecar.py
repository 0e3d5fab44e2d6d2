"""The one door to everything outside the process: other services, topics, secrets, state and blobs.

Calls to other services are the hot path: one pool of kept-alive connections to the sidecar next door, no redirects, no
cookies, no decompression, the body handed to pydantic as it came. Everything that can go wrong on the way arrives as a
``Problem``: what the other service answered, or that it could not be reached.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Self, TypeVar, cast

import aiohttp
from crewmesh_contracts.base import Contract, JsonObject, Reply
from crewmesh_contracts.events import CloudEvent
from crewmesh_contracts.invocations import Invocation
from dapr.aio.clients.grpc.client import DaprGrpcClientAsync
from pydantic import BaseModel, Field, ValidationError
from yarl import URL

from crewmesh_kit.dapr.client import sdk_client, translated
from crewmesh_kit.dapr.stores import BlobStore, StateStore
from crewmesh_kit.dapr.traces import traced
from crewmesh_kit.errors import BadGateway, GatewayTimeout, NotFound, RemoteProblem, Unavailable
from crewmesh_kit.http.middleware import LENGTH_HEADER
from crewmesh_kit.identity import Identity, TokenSigner
from crewmesh_kit.settings import DaprSettings
from crewmesh_kit.telemetry import trace_headers

RequestT = TypeVar("RequestT", bound=Contract)
ResultT = TypeVar("ResultT", bound=Reply)

PUBSUB = "pubsub"
SECRET_STORE = "secretstore"
CLOUD_EVENT_TYPE = "application/cloudevents+json"

_CONNECT_SECONDS = 2.0
_MOST_CONNECTIONS = 512
# Longer than any pause between two requests of a busy service, shorter than the sidecar's own idle limit.
_KEEP_ALIVE_SECONDS = 30.0


class WorkerMetadata(BaseModel):
    connected_workers: int = Field(default=0, alias="connectedWorkers")


class SidecarMetadata(BaseModel):
    """What the sidecar tells about itself."""

    id: str
    workflows: WorkerMetadata = WorkerMetadata()

    @property
    def connected_workers(self) -> int:
        return self.workflows.connected_workers


class Sidecar:
    """Use it as a context manager; the sidecar must be healthy before topics, state and secrets are used."""

    def __init__(self, app_id: str, dapr: DaprSettings) -> None:
        self.app_id = app_id
        self.state = StateStore(self._sdk)
        self.blobs = BlobStore(self._sdk)
        self._dapr = dapr
        self._base = f"http://127.0.0.1:{dapr.http_port}"
        self._token = dapr.api_token.get_secret_value()
        self._session: aiohttp.ClientSession | None = None
        self._sdk_client: DaprGrpcClientAsync | None = None
        self._signer: TokenSigner | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_MOST_CONNECTIONS, keepalive_timeout=_KEEP_ALIVE_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, connect=_CONNECT_SECONDS),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
        if self._sdk_client is not None:
            await self._sdk_client.close()
        self._session = self._sdk_client = None

    async def call(
        self,
        invocation: Invocation[RequestT, ResultT],
        request: RequestT,
        *,
        identity: Identity,
        idempotency_key: str | None = None,
        timeout: float = 30,
    ) -> ResultT:
        """Ask another service. Its problem document becomes a ``RemoteProblem``; silence becomes a problem as well."""
        headers = {
            "authorization": await self.authorization(identity, audience=invocation.app),
            "content-type": "application/json",
            "dapr-api-token": self._token,
            **trace_headers(),
        }
        if idempotency_key is not None:
            headers["idempotency-key"] = idempotency_key
        with _unreachable(invocation.app, timeout):
            async with self._http.post(
                self._url(invocation.app, invocation.path),
                data=request.model_dump_json(by_alias=True).encode(),
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=timeout, sock_connect=_CONNECT_SECONDS),
                allow_redirects=False,
            ) as answer:
                check_answered(invocation.app, answer)
                body = await answer.read()
        check_whole(invocation.app, answer, len(body))
        if answer.status >= 300:
            raise problem_of(invocation.app, answer.status, body, answer.headers)
        try:
            return invocation.result.model_validate_json(body)
        except ValidationError as error:
            raise BadGateway(
                f"{invocation.app} answered {invocation.path} in a shape that is not agreed on."
            ) from error

    @asynccontextmanager
    async def forward(
        self,
        app: str,
        method: str,
        path_and_query: str,
        *,
        headers: Mapping[str, str],
        body: bytes | AsyncIterator[bytes] | None = None,
        timeout: float | None = 30,
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """Pass a request on and give the answer unread, whatever its status. ``timeout`` bounds silence, not length."""
        with _unreachable(app, timeout):
            async with self._http.request(
                method,
                self._url(app, path_and_query),
                data=body,
                headers={**headers, "dapr-api-token": self._token},
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=timeout),
                allow_redirects=False,
            ) as answer:
                check_answered(app, answer)
                yield answer

    async def authorization(self, identity: Identity, *, audience: str) -> str:
        """The Authorization header with which ``audience`` believes who is asking."""
        if self._signer is None:
            self._signer = TokenSigner(await self.secret(f"identity-key-{self.app_id}"), app_id=self.app_id)
        return f"Bearer {self._signer.sign(identity, audience=audience)}"

    async def publish(self, topic: str, event: CloudEvent) -> None:
        """Publish one event as it is."""
        with translated(f"publish to {topic}"):
            await self._sdk().publish_event(PUBSUB, topic, envelope(event), data_content_type=CLOUD_EVENT_TYPE)

    async def publish_many(self, topic: str, events: Sequence[CloudEvent]) -> None:
        """Publish several in one round trip. When it raises, some of them may have been published."""
        with translated(f"publish to {topic}"):
            outcome = await self._sdk().publish_events(
                PUBSUB, topic, [envelope(event) for event in events], data_content_type=CLOUD_EVENT_TYPE
            )
        if outcome.failed_entries:
            first = outcome.failed_entries[0].error
            raise Unavailable(f"{len(outcome.failed_entries)} events could not be published to {topic}: {first}")

    async def publish_raw(self, topic: str, payload: bytes) -> None:
        """Publish bytes as they are, event or not."""
        with translated(f"publish to {topic}"):
            await self._sdk().publish_event(PUBSUB, topic, payload, publish_metadata={"rawPayload": "true"})

    async def secret(self, name: str) -> str:
        """The secret's value; a missing one is an error that names it."""
        try:
            with translated(f"read the secret {name!r}"):
                found = await self._sdk().get_secret(SECRET_STORE, name)
        except NotFound as problem:
            raise BadGateway(f"The secret store holds no secret {name!r}, which {self.app_id} needs.") from problem
        return found.secret[name]

    async def metadata(self) -> SidecarMetadata:
        with _unreachable("the sidecar", 5):
            async with self._http.get(
                URL(f"{self._base}/v1.0/metadata", encoded=True),
                headers={"dapr-api-token": self._token},
                timeout=aiohttp.ClientTimeout(total=5),
            ) as answer:
                body = await answer.read()
        if answer.status != 200:
            raise Unavailable(f"The sidecar answered {answer.status} when asked for its metadata.")
        return SidecarMetadata.model_validate_json(body)

    @property
    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("the sidecar is used outside of its context manager")
        return self._session

    def _sdk(self) -> DaprGrpcClientAsync:
        if self._sdk_client is None:
            self._sdk_client = sdk_client(self._dapr)
        return self._sdk_client

    def _url(self, app: str, path: str) -> URL:
        return URL(f"{self._base}/v1.0/invoke/{app}/method{path}", encoded=True)


def envelope(event: CloudEvent) -> bytes:
    """The event in structured JSON form."""
    return traced(event).model_dump_json(exclude_none=True).encode()


def told_length(answer: aiohttp.ClientResponse) -> int | None:
    """How long the service said its answer is; None where it did not know, as with streams."""
    told = answer.headers.get(LENGTH_HEADER, "")
    return int(told) if told.isdigit() else None


def check_answered(app: str, answer: aiohttp.ClientResponse) -> None:
    """A sidecar that lost its service before there was any answer says 200 and nothing else."""
    if answer.status < 300 and LENGTH_HEADER not in answer.headers:
        raise Unavailable(f"{app} was lost before it answered; ask again.")


def check_whole(app: str, answer: aiohttp.ClientResponse, length: int) -> None:
    """A service that dies in the middle of its answer must not look like one that had little to say."""
    told = told_length(answer)
    if told is not None and told != length:
        raise Unavailable(f"{app} stopped in the middle of its answer; ask again.")


def problem_of(
    app: str, status: int, body: bytes, headers: Mapping[str, str]
) -> RemoteProblem | Unavailable | BadGateway:
    """What an answer that is no success means: the service's own problem, or the sidecar's failure to reach it."""
    error = _sidecar_error(body)
    if error is None:
        return RemoteProblem.from_answer(app=app, status=status, body=body, headers=headers)
    code, message = error
    if status == 403:
        return BadGateway(f"The mesh does not let this service call {app} on this path: {message}")
    return Unavailable(f"{app} cannot be reached right now ({code}); try again in a few seconds.")


def _sidecar_error(body: bytes) -> tuple[str, str] | None:
    """A sidecar reports its own failures as ``{"errorCode": …, "message": …}``, which no service of ours does."""
    if not body.startswith(b'{"errorCode"'):
        return None
    document = cast(JsonObject, json.loads(body))
    return str(document.get("errorCode")), str(document.get("message"))


@contextmanager
def _unreachable(app: str, timeout: float | None) -> Generator[None]:
    try:
        yield
    except aiohttp.ServerTimeoutError as error:
        raise GatewayTimeout(f"{app} did not answer within {timeout} seconds.") from error
    except TimeoutError as error:
        raise GatewayTimeout(f"{app} did not answer within {timeout} seconds.") from error
    except aiohttp.ClientError as error:
        raise Unavailable(f"{app} cannot be reached right now; try again in a few seconds.") from error
