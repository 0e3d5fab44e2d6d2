"""Sharing as a service of one replica knows it: for tests of a part of a service, which need no Valkey."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.resources import Resources
from crewmesh_kit.sharing.service import Sharing
from crewmesh_kit.signals import Signals


class _Silence:
    """Nothing is ever said on any channel."""

    async def subscribe(self, *channels: str) -> None:
        return None

    async def listen(self) -> AsyncGenerator[dict[str, object]]:
        await asyncio.Event().wait()
        yield {}


class _Nobody:
    """Stands where Redis would: there is no other replica to tell."""

    async def publish(self, channel: str, message: str) -> int:
        return 0

    def pubsub(self) -> AbstractAsyncContextManager[_Silence]:
        return nullcontext(_Silence())

    async def aclose(self) -> None:
        return None


def sharing_of(database: Database, idempotency: Idempotency) -> Sharing:
    return Sharing(database, idempotency, Signals(_Nobody(), database.app_id))


@asynccontextmanager
async def sharing_alone(resources: Resources) -> AsyncGenerator[Sharing]:
    """For the lifetime of a service."""
    yield sharing_of(resources.get(Database), resources.get(Idempotency))
