"""Transactions that see one organization only, over a pool that survives a restart of PostgreSQL.

``tenant()`` begins and names the organization in one round trip and commits in a second; row-level security does the
rest. A pooled connection that died while it was idle is noticed at that first statement, when nothing has happened
yet, and is replaced without anybody noticing.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import lru_cache
from typing import Self, TypeVar

import psycopg
from psycopg import AsyncConnection, AsyncCursor, sql
from psycopg.abc import QueryNoTemplate
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow, dict_row
from psycopg_pool import AsyncConnectionPool

from crewmesh_kit.errors import Unavailable
from crewmesh_kit.logs import get_logger

T = TypeVar("T")

EVERY_ORGANIZATION = "*"
_CONNECT_SECONDS = 5
# How long a request waits for a free connection before it is told to come again.
_POOL_WAIT_SECONDS = 5.0
# Short, because the pool pauses longer and longer inside it; the next request starts a fresh attempt anyway.
_RECONNECT_SECONDS = 2.0
# For statements that stand alone: few are enough, for they are short.
_STATEMENT_CONNECTIONS = 4
_SESSION = "-c statement_timeout=30s -c idle_in_transaction_session_timeout=60s"

log = get_logger(__name__)


class DatabaseUnavailable(Unavailable):
    """The service's database cannot be reached, restarts, or gave up on a statement. Try again in a few seconds."""

    def __init__(self, detail: str = "The database cannot be reached right now; try again in a few seconds.") -> None:
        super().__init__(detail, headers={"Retry-After": "2"})


class Connection(AsyncConnection[DictRow]):
    """A pooled connection that knows whose it is and what wants to be told when its transaction is committed."""

    database: Database
    after_commit: list[Callable[[], None]]


class Database:
    """One service's schema. Open it with ``async with Database.open(...)``."""

    def __init__(
        self, app_id: str, pool: AsyncConnectionPool[Connection], statements: AsyncConnectionPool[Connection]
    ) -> None:
        self.app_id = app_id
        self.outbox_filled = asyncio.Event()
        self._pool = pool
        # Their sessions see every organization from the start, so that a single statement needs one round trip.
        self._statements = statements

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, *, app_id: str, pool_min: int = 1, pool_max: int = 16) -> AsyncGenerator[Self]:
        async def introduce(connection: Connection) -> None:
            connection.database = database
            connection.after_commit = []

        def pool_of(options: str, *, smallest: int, largest: int) -> AsyncConnectionPool[Connection]:
            return AsyncConnectionPool(
                url,
                connection_class=Connection,
                kwargs={
                    "autocommit": True,  # transactions are begun below, together with the organization's name
                    "row_factory": dict_row,
                    "application_name": app_id,
                    "connect_timeout": _CONNECT_SECONDS,
                    "tcp_user_timeout": 10_000,
                    "options": options,
                },
                min_size=smallest,
                max_size=largest,
                timeout=_POOL_WAIT_SECONDS,
                reconnect_timeout=_RECONNECT_SECONDS,
                configure=introduce,
                open=False,
                name=app_id,
            )

        pool = pool_of(_SESSION, smallest=pool_min, largest=pool_max)
        everywhere = f"{_SESSION} -c app.org_id={EVERY_ORGANIZATION}"
        statements = pool_of(everywhere, smallest=0, largest=_STATEMENT_CONNECTIONS)
        database = cls(app_id, pool, statements)
        async with pool, statements:
            yield database

    def tenant(self, organization: str) -> AbstractAsyncContextManager[AsyncConnection[DictRow]]:
        """One transaction in which only this organization's rows exist. Commits at exit, rolls back on an exception."""
        if organization in ("", EVERY_ORGANIZATION):
            raise ValueError("tenant() needs the id of one organization")
        return self._transaction(organization)

    def system(self) -> AbstractAsyncContextManager[AsyncConnection[DictRow]]:
        """One transaction over all organizations: for relays and sweepers, never for a request's tenant data."""
        return self._transaction(EVERY_ORGANIZATION)

    async def statement(self, query: QueryNoTemplate, parameters: Mapping[str, object] | None = None) -> list[DictRow]:
        """One statement over all organizations that commits by itself, in one round trip.

        When it raises DatabaseUnavailable it may have been committed all the same: it must bear repetition.
        """
        async with self._alone() as connection:
            cursor = await connection.execute(query, parameters)
            return await _rows(cursor)

    async def statements(self, *queries: tuple[QueryNoTemplate, Mapping[str, object]]) -> list[list[DictRow]]:
        """The same for several that are committed together, still in one round trip. Each sees what came before it."""
        async with self._alone() as connection:
            async with connection.pipeline():
                cursors = [await connection.execute(query, parameters) for query, parameters in queries]
            return [await _rows(cursor) for cursor in cursors]

    @asynccontextmanager
    async def _alone(self) -> AsyncGenerator[Connection]:
        try:
            async with self._statements.connection() as connection:
                yield connection
        except psycopg.Error as error:
            if not _is_ill(error):
                raise
            log.warning("database statement failed", error=str(error).strip(), sqlstate=error.sqlstate)
            raise DatabaseUnavailable from error

    async def why_not_ready(self) -> str | None:
        """For readiness: nothing when a transaction works."""
        try:
            async with self.system():
                return None
        except DatabaseUnavailable as error:
            return error.detail

    @asynccontextmanager
    async def _transaction(self, organization: str) -> AsyncGenerator[AsyncConnection[DictRow]]:
        try:
            connection = await self._begin(organization)
            try:
                yield connection
                await _commit(connection)
            except BaseException:
                await _roll_back(connection)
                raise
            finally:
                committed, connection.after_commit = connection.after_commit, []
                await self._pool.putconn(connection)
        except psycopg.Error as error:
            if not _is_ill(error):
                raise
            log.warning("database transaction failed", error=str(error).strip(), sqlstate=error.sqlstate)
            raise DatabaseUnavailable from error
        for tell in committed:
            tell()

    async def _begin(self, organization: str) -> Connection:
        begin = _beginning(organization)
        # All of the pool may have died together; the one after them is new.
        for _ in range(self._pool.max_size + 1):
            connection = await self._pool.getconn()
            try:
                await connection.execute(begin)
            except psycopg.OperationalError:
                await self._pool.putconn(connection)  # it was dead; the pool replaces it
            except BaseException:
                await connection.close()
                await self._pool.putconn(connection)
                raise
            else:
                return connection
        raise psycopg.OperationalError("every pooled connection was lost")


async def _rows(cursor: AsyncCursor[DictRow]) -> list[DictRow]:
    """What the statement gave; nothing when it is of a kind that gives nothing."""
    return [] if cursor.rownumber is None else await cursor.fetchall()


@lru_cache(maxsize=4096)
def _beginning(organization: str) -> bytes:
    """Of a transaction. Putting it together takes longer than sending it."""
    return sql.SQL("BEGIN; SET LOCAL app.org_id = {}").format(sql.Literal(organization)).as_bytes()


def _is_ill(error: psycopg.Error) -> bool:
    """Whether it is the server that is in trouble, and not the statement.

    Class XX is what PostgreSQL says of trouble that it has no name for, such as a file that may not grow any more.
    """
    return isinstance(error, psycopg.OperationalError) or (error.sqlstate or "").startswith("XX")


async def _commit(connection: Connection) -> None:
    # PostgreSQL would answer COMMIT with a silent rollback; nobody may believe that something was written.
    if connection.info.transaction_status == TransactionStatus.INERROR:
        raise psycopg.InternalError("a statement of this transaction failed and its error was swallowed")
    await connection.commit()


async def _roll_back(connection: Connection) -> None:
    connection.after_commit = []
    try:
        if connection.info.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
            await connection.rollback()
        elif connection.info.transaction_status != TransactionStatus.IDLE:
            await connection.close()
    except psycopg.OperationalError as error:
        log.warning("a lost connection could not roll back; the server does so itself", error=str(error).strip())


def after_commit(connection: AsyncConnection[DictRow], tell: Callable[[], None]) -> None:
    """Call ``tell`` when the connection's transaction is committed, and only then."""
    if not isinstance(connection, Connection):
        raise TypeError("only a connection that Database.tenant() or Database.system() gave out tells of its commit")
    connection.after_commit.append(tell)


async def persistently(work: Callable[[], Awaitable[T]], *, seconds: float = 60) -> T:
    """Do ``work`` again while the database is away: something happened outside and must now be written.

    A connection may be lost after the commit was done and before it was confirmed, so ``work`` must bear repetition.
    """
    deadline = time.monotonic() + seconds
    pause = 0.05
    while True:
        try:
            return await work()
        except (DatabaseUnavailable, psycopg.OperationalError):
            if time.monotonic() + pause >= deadline:
                raise
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))
        pause = min(pause * 2, 2.0)
