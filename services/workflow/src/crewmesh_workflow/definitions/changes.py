"""One change to the definitions of an organization: one transaction, done once per Idempotency-Key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.identity import Identity
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from pydantic import BaseModel

ResultT = TypeVar("ResultT", bound=BaseModel)
Work = Callable[[AsyncConnection[DictRow]], Awaitable[ResultT]]


class Changes:
    def __init__(self, database: Database, idempotency: Idempotency) -> None:
        self._database = database
        self._idempotency = idempotency

    def reading(self, identity: Identity) -> AbstractAsyncContextManager[AsyncConnection[DictRow]]:
        return self._database.tenant(identity.organization)

    async def once(
        self,
        identity: Identity,
        scope: str,
        key: str | None,
        request: BaseModel,
        result: type[ResultT],
        work: Work[ResultT],
    ) -> ResultT:
        """``scope`` names what is done to what; the answer to the same key and request is the same."""
        async with self._database.tenant(identity.organization) as conn:

            async def do() -> ResultT:
                return await work(conn)

            return await self._idempotency.once_in(
                conn, identity=identity, scope=scope, key=key, request=request, work=do, result=result
            )
