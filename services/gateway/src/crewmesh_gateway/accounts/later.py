"""What is done after the answer was given.

Whoever asks for an account, a new password or another mail gets the same answer after the same work, whether there is
such an account or not: one row. What comes of it is found out here, in one transaction with the row's end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.db.database import Database, DatabaseUnavailable
from crewmesh_kit.ids import new_id
from crewmesh_kit.logs import get_logger
from crewmesh_kit.origin import Origin, note_origin
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

# failed: somebody showed a wrong password for the address.
Kind = Literal["signup", "resend", "forgot", "failed"]

_POLL_SECONDS = 5.0
_AGAIN_AFTER_SECONDS = 60.0
_ADD = b"""
INSERT INTO account_requests (id, kind, email, detail, address, agent)
VALUES (%(id)s, %(kind)s, %(email)s, %(detail)s, %(address)s, %(agent)s)
ON CONFLICT (id) DO NOTHING
"""
_TAKE = """
SELECT id, kind, email, detail, address, agent FROM account_requests WHERE due_at <= now()
ORDER BY due_at, id LIMIT 1 FOR UPDATE SKIP LOCKED
"""
# Nobody waits for a mail for longer than a day.
_TRY_LATER = b"""
UPDATE account_requests SET due_at = now() + %(pause)s * interval '1 second' WHERE id = %(id)s
"""
_FORGET = "DELETE FROM account_requests WHERE created_at < now() - interval '1 day'"

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class AccountRequest:
    id: str
    kind: Kind
    email: str
    detail: JsonObject
    origin: Origin


Handle: TypeAlias = Callable[[AsyncConnection[DictRow], AccountRequest], Awaitable[None]]


class Later:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._filled = asyncio.Event()

    async def add(self, kind: Kind, email: str, origin: Origin, detail: JsonObject | None = None) -> None:
        row = {"kind": kind, "email": email, "address": origin.address, "agent": origin.agent}
        await self._database.statement(_ADD, {"id": new_id("req"), "detail": Jsonb(detail or {}), **row})
        self._filled.set()

    async def run(self, handlers: Mapping[Kind, Handle]) -> None:
        """Do for ever what is asked for."""
        while True:
            self._filled.clear()
            try:
                while await self.do_one(handlers):
                    pass
            except DatabaseUnavailable as problem:
                log.warning("requests about accounts wait", reason=problem.detail)
            try:
                # Not wait_for(): before Python 3.12 it may swallow a cancellation that comes together with the event.
                async with asyncio.timeout(_POLL_SECONDS):
                    await self._filled.wait()
            except TimeoutError:
                continue

    async def do_one(self, handlers: Mapping[Kind, Handle]) -> bool:
        """Whether there was one."""
        request: AccountRequest | None = None
        try:
            async with self._database.system() as conn:
                request = await _take(conn)
                if request is None:
                    return False
                note_origin({"user-agent": request.origin.agent or ""}, address=request.origin.address)
                await handlers[request.kind](conn, request)
                await conn.execute("DELETE FROM account_requests WHERE id = %s", [request.id])
        except DatabaseUnavailable:
            raise
        except Exception:
            if request is None:
                raise
            # One that cannot be done must not hold up the others.
            log.exception("a request about an account could not be done", request=request.id, kind=request.kind)
            await self._database.statement(_TRY_LATER, {"id": request.id, "pause": _AGAIN_AFTER_SECONDS})
        return True


async def forget_old(conn: AsyncConnection[DictRow]) -> None:
    await conn.execute(_FORGET)


async def _take(conn: AsyncConnection[DictRow]) -> AccountRequest | None:
    row = await (await conn.execute(_TAKE)).fetchone()
    if row is None:
        return None
    origin = Origin(row["address"], row["agent"])
    return AccountRequest(row["id"], row["kind"], row["email"], row["detail"], origin)
