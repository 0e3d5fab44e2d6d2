"""One change to the definitions of an organization: one transaction, done once per Idempotency-Key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.identity import Identity
from crewmesh_kit.sharing.service import Sharing
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from pydantic import BaseModel

from crewmesh_workflow.access import CHANGE
from crewmesh_workflow.definitions.lookup import Lookup, id_in_scope

ResultT = TypeVar("ResultT", bound=BaseModel)
Work = Callable[[AsyncConnection[DictRow]], Awaitable[ResultT]]


class Changes:
    def __init__(self, database: Database, idempotency: Idempotency, sharing: Sharing) -> None:
        self._database = database
        self._idempotency = idempotency
        self.sharing = sharing
        self.lookup = Lookup(sharing)

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
        *,
        of: str | None = None,
    ) -> ResultT:
        """``scope`` names what is done; the answer to the same key and request is the same.

        ``of``: the workflow that it is done to, by id or slug. Who may not change it any more is not told the answer
        again either.
        """
        async with self._database.tenant(identity.organization) as conn:
            if of is not None and not (await self.sharing.reach(conn, identity, CHANGE)).everything:
                await self.lookup.found(conn, identity, of, CHANGE)
            if of is not None and key is not None:
                scope = f"workflows/{await id_in_scope(conn, identity.organization, of)}/{scope}"

            async def do() -> ResultT:
                return await work(conn)

            return await self._idempotency.once_in(
                conn, identity=identity, scope=scope, key=key, request=request, work=do, result=result
            )
