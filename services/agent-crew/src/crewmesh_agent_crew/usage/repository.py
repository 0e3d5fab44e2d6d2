"""The SQL of usage: sums of days that are over, and the ledger for everything else.

Whatever is asked, parts are summed up by everything that is asked for and by latency in steps of five percent; groups,
percentiles and the total are made of these parts, which are few. Days tell nothing of their hours, nor of single
runs, steps and conversations, of which there are nearly as many as calls: for those the ledger alone is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from crewmesh_kit.db.database import Database
from psycopg import AsyncConnection, sql
from psycopg.rows import DictRow

from crewmesh_agent_crew.spending.hidden import Hidden
from crewmesh_agent_crew.usage.models import MANY, By, Question, Span, column_of

# Latencies are told to within a twentieth.
STEPS = 20
# Today's calls are some thousands among hundreds of thousands. Taken for scattered over a slow disk they would be
# looked for among all, the later the day the likelier; but they lie together, and in memory.
_SETTINGS = "SET LOCAL work_mem = '64MB'; SET LOCAL random_page_cost = 1.1"
_SPEED = sql.SQL("CASE outcome WHEN 'ok' THEN round({} * ln(1 + latency_ms))::int END").format(sql.Literal(STEPS))
# There are as many of these as calls, nearly: the parts would be no fewer than what they are of.
_NO_SPEED = sql.SQL("NULL::int")

_OF_CALLS = sql.SQL("""
SELECT {shown} {bucket} AS bucket, {speed} AS speed, count(*) AS of_speed,
       count(*) AS calls, sum(input) AS input, sum(cached) AS cached, sum(output) AS output, sum(cost_nano) AS cost
FROM {calls} WHERE {where} AND outcome <> 'reserved' GROUP BY {names} bucket, speed
""")
# Their sums, then how fast their calls were.
_OF_DAYS = sql.SQL("""
UNION ALL
SELECT {shown} {bucket_of_day} AS bucket, NULL, 0, sum(calls), sum(input), sum(cached), sum(output), sum(cost_nano)
FROM usage_days WHERE {where} AND {whole} GROUP BY {names} bucket
UNION ALL
SELECT {shown} {bucket_of_day} AS bucket, fast, sum(of_fast)::bigint, 0, 0, 0, 0, 0
FROM (
    SELECT *, unnest(speeds) AS fast, unnest(of_speed) AS of_fast FROM usage_days WHERE {where} AND {whole}
) AS fast_days
GROUP BY {names} bucket, fast
""")
_WHOLE = sql.SQL("at >= {first} AND at < {behind}")
_ALL_CALLS = sql.SQL("model_calls")
# In parts that are found by an index each: what is not summed up, and days that are not asked for as a whole.
_OTHER_CALLS = sql.SQL("""(
SELECT * FROM model_calls WHERE summed_at IS NULL
UNION ALL SELECT * FROM model_calls WHERE summed_at IS NOT NULL AND at < {first}
UNION ALL SELECT * FROM model_calls WHERE summed_at IS NOT NULL AND at >= greatest({first}, {behind})
) AS other_calls""")
_FIRST_DAY = sql.SQL("date_trunc('day', {}::timestamptz + interval '1 day' - interval '1 microsecond', 'UTC')")
_LAST_DAY = sql.SQL("date_trunc('day', {}::timestamptz, 'UTC')")

# All together first by their speed alone: of a month by the day there are too many parts to tell each of them.
_WITH = sql.SQL("""
WITH parts AS MATERIALIZED ({parts}), together AS (
    SELECT speed, sum(of_speed)::bigint AS of_speed, sum(calls) AS calls, sum(input) AS input, sum(cached) AS cached,
           sum(output) AS output, sum(cost) AS cost
    FROM parts GROUP BY speed
)
SELECT true AS whole, {no_names} NULL::timestamptz AS bucket, {sums} FROM together
""")
_GROUPS = sql.SQL("""
UNION ALL
(SELECT false, {names} bucket, {sums} FROM parts {teams} GROUP BY {names} bucket ORDER BY {order} LIMIT {limit})
ORDER BY whole DESC, {order}
""")
_SUMS = sql.SQL("""
coalesce(sum(calls), 0)::bigint AS calls, coalesce(sum(input), 0)::bigint AS input,
coalesce(sum(cached), 0)::bigint AS cached, coalesce(sum(output), 0)::bigint AS output,
coalesce(sum(cost), 0)::bigint AS cost, array_agg(speed) AS speeds, array_agg(of_speed) AS of_speed
""")
_OF_EACH_TEAM = sql.SQL("LEFT JOIN LATERAL unnest(teams) AS team ON true")
_DEAREST = sql.SQL("cost DESC")

# As they may be told: of two columns with one name the later one is taken.
_CALLS = sql.SQL("""
SELECT *, {crew} AS crew, {agent} AS agent FROM model_calls WHERE {where} AND {behind}
ORDER BY at DESC, id DESC LIMIT {limit}
""")
_UNTOLD_CREW = sql.SQL("CASE WHEN crew = ANY({crews}) THEN NULL ELSE crew END")
_UNTOLD_AGENT = sql.SQL("""
CASE WHEN agent = ANY({agents}) OR crew = ANY({crews}) OR (crew IS NULL AND agent = ANY({members})) THEN NULL
ELSE agent END
""")

_TO_SUM_UP = """
SELECT DISTINCT org_id FROM model_calls
WHERE summed_at IS NULL AND at < date_trunc('day', now(), 'UTC') AND outcome <> 'reserved'
"""
_ALONE_AT_IT = "SELECT pg_advisory_xact_lock(hashtextextended('usage of ' || %s, 0))"
# What nobody knows the end of may end after all: whoever asked was only cut off for a while.
_SUM_UP = sql.SQL("""
WITH found AS (
    UPDATE model_calls SET summed_at = now() WHERE id = ANY(ARRAY(
        SELECT id FROM model_calls
        WHERE org_id = %(org)s AND summed_at IS NULL AND at < date_trunc('day', now(), 'UTC')
          AND outcome <> 'reserved' AND (outcome <> 'unknown' OR at < now() - interval '1 day')
        ORDER BY at LIMIT %(most)s FOR UPDATE SKIP LOCKED
    )) RETURNING *
), parts AS (
    SELECT date_trunc('day', at, 'UTC') AS day, {names}, {speed} AS speed, count(*) AS calls, sum(input) AS input,
           sum(cached) AS cached, sum(output) AS output, sum(cost_nano) AS cost
    FROM found GROUP BY day, {names}, speed
), added AS (
    INSERT INTO usage_days (org_id, at, {names}, calls, input, cached, output, cost_nano, speeds, of_speed)
    SELECT %(org)s, day, {names}, sum(calls), sum(input), sum(cached), sum(output), sum(cost),
           coalesce(array_agg(speed) FILTER (WHERE speed IS NOT NULL), '{{}}'),
           coalesce(array_agg(calls) FILTER (WHERE speed IS NOT NULL), '{{}}')
    FROM parts GROUP BY day, {names}
)
SELECT count(*) AS n FROM found
""").format(
    names=sql.SQL("provider, model, workflow, crew, agent, user_id, key_id, teams, outcome"),
    speed=_SPEED,
)


class UsageRepository:
    """``hidden``: names that are not told to who asks."""

    def __init__(self, connection: AsyncConnection[DictRow], organization: str, hidden: Hidden) -> None:
        self._connection = connection
        self._organization = organization
        self._hidden = hidden

    async def sums(self, question: Question) -> list[DictRow]:
        """The total, then its groups: up to one more than asked for."""
        await self._connection.execute(_SETTINGS)
        query = _WITH.format(
            parts=self._parts(question),
            no_names=_listed(sql.SQL("NULL::text AS {}").format(sql.Identifier(by)) for by in question.by),
            sums=_SUMS,
        )
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
        return await self._rows(
            _CALLS.format(
                crew=self._told("crew"),
                agent=self._told("agent"),
                where=self._where(span, where),
                behind=after,
                limit=sql.Literal(limit),
            )
        )

    async def sum_up(self, most: int) -> int:
        """Up to so many calls of days that are over become part of their days' sums; how many it were."""
        await self._connection.execute(_ALONE_AT_IT, [self._organization])
        named = {"org": self._organization, "most": most}
        row = await (await self._connection.execute(_SUM_UP, named)).fetchone()
        return 0 if row is None else int(row["n"])

    def _parts(self, question: Question) -> sql.Composed:
        told = [(column_of(by), self._told(by)) for by in question.by]
        days = {
            "first": _FIRST_DAY.format(sql.Literal(question.span.start)),
            "behind": _LAST_DAY.format(sql.Literal(question.span.end)),
        }
        by_days = question.bucket != "hour" and MANY.isdisjoint({*question.by, *question.where})
        asked: dict[str, sql.Composable] = {
            "shown": _listed(sql.SQL("{} AS {}").format(value, sql.Identifier(name)) for name, value in told),
            "names": _listed(value for _, value in told),
            "bucket": _bucket(question),
            "bucket_of_day": sql.Identifier("at") if question.bucket == "day" else _bucket(question),
            "speed": _SPEED if MANY.isdisjoint(question.by) else _NO_SPEED,
            "where": self._where(question.span, question.where),
            "whole": _WHOLE.format(**days),
            "calls": _OTHER_CALLS.format(**days) if by_days else _ALL_CALLS,
        }
        calls = _OF_CALLS.format(**asked)
        return calls + _OF_DAYS.format(**asked) if by_days else calls

    def _where(self, span: Span, where: Mapping[By, str]) -> sql.Composed:
        conditions = [
            sql.SQL("org_id = {}").format(sql.Literal(self._organization)),
            sql.SQL("at >= {} AND at < {}").format(sql.Literal(span.start), sql.Literal(span.end)),
            *(self._is(by, value) for by, value in where.items()),
        ]
        return sql.SQL(" AND ").join(conditions)

    def _is(self, by: By, value: str) -> sql.Composed:
        form = sql.SQL("{value} = ANY({column})") if by == "team" else sql.SQL("{column} = {value}")
        return form.format(column=self._told(by), value=sql.Literal(value))

    def _told(self, by: By) -> sql.Composable:
        """The column as it may be told; mostly nothing is hidden."""
        if self._hidden.nothing or by not in ("crew", "agent"):
            return sql.Identifier(column_of(by))
        return (_UNTOLD_CREW if by == "crew" else _UNTOLD_AGENT).format(
            crews=sql.Literal(list(self._hidden.crews)),
            agents=sql.Literal(list(self._hidden.agents)),
            members=sql.Literal(list(self._hidden.members)),
        )

    async def _rows(self, query: sql.Composed) -> list[DictRow]:
        return await (await self._connection.execute(query)).fetchall()


async def to_sum_up(database: Database) -> list[str]:
    """Organizations with calls in days that are over and not summed up."""
    return [row["org_id"] for row in await database.statement(_TO_SUM_UP)]


def _bucket(question: Question) -> sql.Composable:
    if question.bucket is None:
        return sql.SQL("NULL::timestamptz")
    return sql.SQL("date_trunc({}, at, 'UTC')").format(sql.Literal(question.bucket))


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
