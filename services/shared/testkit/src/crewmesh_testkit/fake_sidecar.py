"""A sidecar without a process: what the service publishes is recorded, what it asks of others is scripted.

Requests and answers pass through their contract's JSON, as they would on the wire, so that a shape that does not
survive the journey fails here too.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar, cast

import aiohttp
from crewmesh_contracts.base import Contract, Reply
from crewmesh_contracts.events import CloudEvent
from crewmesh_contracts.invocations import Invocation
from crewmesh_kit.dapr.sidecar import Sidecar, SidecarMetadata
from crewmesh_kit.dapr.stores import BlobStore, StateStore, reference_of
from crewmesh_kit.errors import BadGateway, NotFound, Unavailable
from crewmesh_kit.identity import Identity
from crewmesh_kit.settings import DaprSettings
from yarl import URL

from crewmesh_testkit.identities import APPS, private_key, public_keys

RequestT = TypeVar("RequestT", bound=Contract)
ResultT = TypeVar("ResultT", bound=Reply)
Answer = Callable[[RequestT], Awaitable[ResultT]]


class Call:
    """One call that the service under test made to another."""

    def __init__(self, app: str, path: str, request: Contract, identity: Identity, idempotency_key: str | None) -> None:
        self.app = app
        self.path = path
        self.request = request
        self.identity = identity
        self.idempotency_key = idempotency_key


class FakeSidecar(Sidecar):
    """Pass it as ``create_app(settings, sidecar=FakeSidecar("knowledge"))``."""

    def __init__(self, app_id: str, *, secrets: Mapping[str, str] | None = None) -> None:
        super().__init__(app_id, DaprSettings())
        self.published: list[tuple[str, CloudEvent]] = []
        self.published_raw: list[tuple[str, bytes]] = []
        self.calls: list[Call] = []
        self.secrets: dict[str, str] = {
            **{f"identity-key-{app}": private_key(app) for app in APPS},
            "identity-keys": public_keys(),
            "hook-master-key": "master-key-of-tests",
            "provider-master-key": "provider-master-key-of-tests",
            "session-master-key": "session-master-key-of-tests-and-of-nothing-else",
            **(secrets or {}),
        }
        self.connected_workers = 1
        self.broker_is_down = False
        self.state = FakeStateStore()
        self.blobs = FakeBlobStore()
        self._answers: dict[tuple[str, str], Callable[[Contract], Awaitable[Reply]]] = {}
        self._forward_to: dict[str, str] = {}

    def answer(self, invocation: Invocation[RequestT, ResultT], answer: Answer[RequestT, ResultT]) -> None:
        """What the other service says from now on; raise a ``Problem`` in it to let it fail."""
        self._answers[invocation.app, invocation.path] = cast(Callable[[Contract], Awaitable[Reply]], answer)

    def forward_to(self, app: str, base_url: str) -> None:
        """Where ``forward`` finds the app: a real server of the test's own."""
        self._forward_to[app] = base_url

    def published_on(self, topic: str) -> list[CloudEvent]:
        return [event for where, event in self.published if where == topic]

    async def call(
        self,
        invocation: Invocation[RequestT, ResultT],
        request: RequestT,
        *,
        identity: Identity,
        idempotency_key: str | None = None,
        timeout: float = 30,
    ) -> ResultT:
        arrived = invocation.request.model_validate_json(request.model_dump_json(by_alias=True))
        self.calls.append(Call(invocation.app, invocation.path, arrived, identity, idempotency_key))
        answer = self._answers.get((invocation.app, invocation.path))
        if answer is None:
            raise Unavailable(f"{invocation.app} cannot be reached: the test scripted no answer for {invocation.path}")
        reply = await answer(arrived)
        return invocation.result.model_validate_json(reply.model_dump_json(by_alias=True))

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
        if app not in self._forward_to:
            raise Unavailable(f"{app} cannot be reached: the test named no server for it")
        url = URL(self._forward_to[app] + path_and_query, encoded=True)
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(method, url, data=body, headers=headers, allow_redirects=False) as answer,
        ):
            yield answer

    async def publish(self, topic: str, event: CloudEvent) -> None:
        await self.publish_many(topic, [event])

    async def publish_many(self, topic: str, events: Sequence[CloudEvent]) -> None:
        if self.broker_is_down:
            raise Unavailable(f"The sidecar could not publish to {topic}: the test took the broker away")
        arrived = [CloudEvent.model_validate_json(event.model_dump_json(exclude_none=True)) for event in events]
        self.published += [(topic, event) for event in arrived]

    async def publish_raw(self, topic: str, payload: bytes) -> None:
        if self.broker_is_down:
            raise Unavailable(f"The sidecar could not publish to {topic}: the test took the broker away")
        self.published_raw.append((topic, payload))

    async def secret(self, name: str) -> str:
        if name not in self.secrets:
            raise BadGateway(f"The secret store holds no secret {name!r}, which {self.app_id} needs.")
        return self.secrets[name]

    async def metadata(self) -> SidecarMetadata:
        return SidecarMetadata.model_validate(
            {"id": self.app_id, "workflows": {"connectedWorkers": self.connected_workers}}
        )


class FakeStateStore(StateStore):
    """State in a dictionary; it never expires, because tests end."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}

    async def get(self, key: str) -> bytes | None:
        return self.values.get(key)

    async def set(self, key: str, value: bytes, *, ttl_seconds: int) -> None:
        self.values[key] = value

    async def delete(self, key: str) -> None:
        self.values.pop(key, None)


class FakeBlobStore(BlobStore):
    """Blobs in a dictionary."""

    def __init__(self) -> None:
        self.payloads: dict[str, bytes] = {}

    async def put(self, payload: bytes) -> str:
        reference = reference_of(payload)
        self.payloads[reference] = payload
        return reference

    async def get(self, reference: str) -> bytes:
        if reference not in self.payloads:
            raise NotFound(f"There is no blob {reference}.")
        return self.payloads[reference]

    async def delete(self, reference: str) -> None:
        if self.payloads.pop(reference, None) is None:
            raise NotFound(f"There is no blob {reference}.")
