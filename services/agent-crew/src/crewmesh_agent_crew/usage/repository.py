"""The SQL of usage: one pass over the ledger, whatever is asked.

The pass sums up by everything that is asked for and by latency in steps of five percent; groups, percentiles and the
total are made of these parts, which are few.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from psycopg import AsyncConnection, sql
from psycopg.rows import DictRow

from crewmesh_agent_crew.usage.models import MANY, By, Question, Span, column_of

# Latencies are told to within a twentieth.
STEPS = 20
_ROOM = "SET LOCAL work_mem = '64MB'"
_PARTS = sql.SQL("""
WITH parts AS MATERIALIZED (
    SELECT {names} {bucket} AS bucket,
           {speed} AS speed,
           count(*) AS calls, sum(input) AS input, sum(cached) AS cached, sum(output) AS output, sum(cost_nano) AS cost
    FROM model_calls WHERE {where} AND outcome <> 'reserved' GROUP BY {names} bucket, speed
)
SELECT true AS whole, {no_names} NULL::timestamptz AS bucket, {sums} FROM parts
""")
_GROUPS = sql.SQL("""
UNION ALL
(SELECT false, {names} bucket, {sums} FROM parts {teams} GROUP BY {names} bucket ORDER BY {order} LIMIT {limit})
ORDER BY whole DESC, {order}
""")
_SPEED = sql.SQL("CASE outcome WHEN 'ok' THEN round({} * ln(1 + latency_ms))::int END").format(sql.Literal(STEPS))
# There are as many of these as calls, nearly: the parts would be no fewer than what they are of.
_NO_SPEED = sql.SQL("NULL::int")
_SUMS = sql.SQL("""
coalesce(sum(calls), 0)::bigint AS calls, coalesce(sum(input), 0)::bigint AS input,
coalesce(sum(cached), 0)::bigint AS cached, coalesce(sum(output), 0)::bigint AS output,
coalesce(sum(cost), 0)::bigint AS cost, array_agg(speed) AS speeds, array_agg(calls) AS of_speed
""")
_OF_EACH_TEAM = sql.SQL("LEFT JOIN LATERAL unnest(teams) AS team ON true")
_DEAREST = sql.SQL("cost DESC")
_CALLS = sql.SQL("SELECT * FROM model_calls WHERE {where} AND {behind} ORDER BY at DESC, id DESC LIMIT {limit}")


class UsageRepository:
    def __init__(self, connection: AsyncConnection[DictRow], organization: str) -> None:
        self._connection = connection
        self._organization = organization

    async def sums(self, question: Question) -> list[DictRow]:
        """The total, then its groups: up to one more than asked for."""
        await self._connection.execute(_ROOM)
        query = _whole(question, self._organization)
        if question.by or question.bucket is not None:
            query += _groups(question)
        return await self._rows(query)

    async def calls(
        self, span: Span, where: Mapping[By, str], behind: tuple[datetime, str] | None, limit: int
    ) -> list[DictRow]:
        """The latest first."""
        after: sql.Composable = sql.SQL("true")
        if behind is not None:
            at, id_ = behind
            after = sql.SQL("(at, id) < ({}, {})").format(sql.Literal(at), sql.Literal(id_))
        chosen = _where(self._organization, span, where)
        return await self._rows(_CALLS.format(where=chosen, behind=after, limit=sql.Literal(limit)))

    async def _rows(self, query: sql.Composed) -> list[DictRow]:
        return await (await self._connection.execute(query)).fetchall()


def _whole(question: Question, organization: str) -> sql.Composed:
    bucket: sql.Composable = sql.SQL("NULL::timestamptz")
    if question.bucket is not None:
        bucket = sql.SQL("date_trunc({}, at, 'UTC')").format(sql.Literal(question.bucket))
    return _PARTS.format(
        names=_listed(sql.Identifier(column_of(by)) for by in question.by),
        bucket=bucket,
        speed=_NO_SPEED if MANY & set(question.by) else _SPEED,
        where=_where(organization, question.span, question.where),
        no_names=_listed(sql.SQL("NULL::text AS {}").format(sql.Identifier(by)) for by in question.by),
        sums=_SUMS,
    )


def _groups(question: Question) -> sql.Composed:
    return _GROUPS.format(
        names=_listed(sql.Identifier(by if by == "team" else column_of(by)) for by in question.by),
        sums=_SUMS,
        teams=_OF_EACH_TEAM if "team" in question.by else sql.SQL(""),
        order=_DEAREST if question.bucket is None else sql.SQL("bucket, cost DESC"),
        limit=sql.Literal(question.limit + 1),
    )


def _listed(parts: Iterable[sql.Composable]) -> sql.Composed:
    """With a comma behind each, for something follows."""
    return sql.SQL("").join(sql.SQL("{}, ").format(part) for part in parts)


def _where(organization: str, span: Span, where: Mapping[By, str]) -> sql.Composed:
    conditions = [
        sql.SQL("org_id = {}").format(sql.Literal(organization)),
        sql.SQL("at >= {} AND at < {}").format(sql.Literal(span.start), sql.Literal(span.end)),
        *(_is(by, value) for by, value in where.items()),
    ]
    return sql.SQL(" AND ").join(conditions)


def _is(by: By, value: str) -> sql.Composed:
    form = sql.SQL("{value} = ANY({column})") if by == "team" else sql.SQL("{column} = {value}")
    return form.format(column=sql.Identifier(column_of(by)), value=sql.Literal(value))
