"""The deliveries table. Row-level security holds every statement to the organization of its transaction."""

from __future__ import annotations

from dataclasses import dataclass

from crewmesh_kit.db.database import Database
from psycopg import AsyncConnection, sql
from psycopg.rows import DictRow, class_row

from crewmesh_integration.deliveries.schemas import Delivery, Outcome

_COLUMNS = "id, run, idempotency_key, method, host, path, outcome, status, duration_ms, error, at"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What is known before anything is sent."""

    id: str
    organization: str
    run: str | None
    idempotency_key: str
    method: str
    host: str
    path: str
    repeatable: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    outcome: Outcome
    status: int | None
    duration_ms: int
    error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    run: str | None = None
    idempotency_key: str | None = None
    host: str | None = None
    outcome: Outcome | None = None


async def complete(connection: AsyncConnection[DictRow], id_: str, result: Result) -> None:
    """Write the outcome in the caller's transaction."""
    await connection.execute(
        "UPDATE deliveries SET outcome = %s, status = %s, duration_ms = %s, error = %s WHERE id = %s",
        (result.outcome, result.status, result.duration_ms, result.error, id_),
    )


class DeliveryRepository:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, attempt: Attempt) -> None:
        async with self._database.tenant(attempt.organization) as connection:
            await connection.execute(
                """
                INSERT INTO deliveries (id, org_id, run, idempotency_key, method, host, path, repeatable)
                VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
                """,
                (
                    attempt.id,
                    attempt.organization,
                    attempt.run,
                    attempt.idempotency_key,
                    attempt.method,
                    attempt.host,
                    attempt.path,
                    attempt.repeatable,
                ),
            )

    async def last_never_twice(self, organization: str, key: str) -> Delivery | None:
        """The last attempt under the key at something that must not be sent twice."""
        async with (
            self._database.tenant(organization) as connection,
            connection.cursor(row_factory=class_row(Delivery)) as cursor,
        ):
            await cursor.execute(
                f"SELECT {_COLUMNS} FROM deliveries WHERE idempotency_key = %s AND NOT repeatable"
                " ORDER BY id DESC LIMIT 1",
                (key,),
            )
            return await cursor.fetchone()

    async def complete(self, organization: str, id_: str, result: Result) -> None:
        """Write the outcome; doing it twice changes nothing."""
        async with self._database.tenant(organization) as connection:
            await complete(connection, id_, result)

    async def get(self, organization: str, id_: str) -> Delivery | None:
        async with (
            self._database.tenant(organization) as connection,
            connection.cursor(row_factory=class_row(Delivery)) as cursor,
        ):
            await cursor.execute(f"SELECT {_COLUMNS} FROM deliveries WHERE id = %s", (id_,))
            return await cursor.fetchone()

    async def newest_first(
        self, organization: str, filters: Filters, *, before: str | None, limit: int
    ) -> list[Delivery]:
        conditions = (
            (sql.SQL("run = %s"), filters.run),
            (sql.SQL("idempotency_key = %s"), filters.idempotency_key),
            (sql.SQL("host = %s"), filters.host),
            (sql.SQL("outcome = %s"), filters.outcome),
            (sql.SQL("id < %s"), before),
        )
        # The organization again, beside row-level security: with it the planner can walk the index in order.
        given = [(sql.SQL("org_id = %s"), organization), *(each for each in conditions if each[1] is not None)]
        query = sql.SQL("SELECT {} FROM deliveries WHERE {} ORDER BY id DESC LIMIT %s").format(
            sql.SQL(_COLUMNS), sql.SQL(" AND ").join(condition for condition, _ in given)
        )
        async with (
            self._database.tenant(organization) as connection,
            connection.cursor(row_factory=class_row(Delivery)) as cursor,
        ):
            await cursor.execute(query, [*(value for _, value in given), limit])
            return await cursor.fetchall()

    async def delete_older_than(self, days: int) -> int:
        async with self._database.system() as connection:
            cursor = await connection.execute(
                "DELETE FROM deliveries WHERE at < now() - make_interval(days => %s)", (days,)
            )
            return cursor.rowcount
