"""SQL of feedback and insights. Row-level security keeps every statement within the transaction's organization."""

from __future__ import annotations

from psycopg import AsyncConnection
from psycopg.rows import DictRow, class_row

from crewmesh_agent_crew.crew_runs.stage import Recollection
from crewmesh_agent_crew.feedback.schemas import FeedbackView, InsightView

_FEEDBACK = "id, crew_run, about, rating, comment, by, at"
_INSIGHT = "id, about, text, trusted, feedback, by, at"
_SAY = f"""
INSERT INTO feedback AS said (id, org_id, crew_run, about, rating, comment, by)
VALUES (%(id)s, %(org)s, %(crew_run)s, %(about)s, %(rating)s, %(comment)s, %(by)s)
ON CONFLICT (org_id, crew_run, by)
DO UPDATE SET rating = excluded.rating, comment = excluded.comment, at = now()
RETURNING {_FEEDBACK}
"""
_OF_RUN = f"SELECT {_FEEDBACK} FROM feedback WHERE crew_run = %s AND id > %s ORDER BY id LIMIT %s"
_LEARN = f"""
INSERT INTO insights AS known (id, org_id, about, text, trusted, feedback, by)
VALUES (%(id)s, %(org)s, %(about)s, %(text)s, %(trusted)s, %(feedback)s, %(by)s)
ON CONFLICT (feedback) DO UPDATE SET text = excluded.text, trusted = excluded.trusted, at = now()
RETURNING {_INSIGHT}
"""
_UNLEARN = "DELETE FROM insights WHERE feedback = %s"
# However much others comment, what was taught by who may teach comes first.
_NEWEST = "SELECT text, trusted FROM insights WHERE about = %s ORDER BY trusted DESC, at DESC, id DESC LIMIT %s"
_PAGE = f"""
SELECT {_INSIGHT} FROM insights WHERE about = %(about)s AND (%(before)s::text IS NULL OR id < %(before)s)
ORDER BY id DESC LIMIT %(limit)s
"""
_FIND = f"SELECT {_INSIGHT} FROM insights WHERE id = %s"
_DROP = "DELETE FROM insights WHERE id = %s"


async def say(conn: AsyncConnection[DictRow], values: dict[str, object]) -> FeedbackView:
    async with conn.cursor(row_factory=class_row(FeedbackView)) as cursor:
        await cursor.execute(_SAY.encode(), values)
        said = await cursor.fetchone()
    assert said is not None, "the statement returns the row that it writes"
    return said


async def of_run(conn: AsyncConnection[DictRow], crew_run: str, after: str | None, limit: int) -> list[FeedbackView]:
    async with conn.cursor(row_factory=class_row(FeedbackView)) as cursor:
        await cursor.execute(_OF_RUN.encode(), [crew_run, after or "", limit])
        return await cursor.fetchall()


async def learn(conn: AsyncConnection[DictRow], values: dict[str, object]) -> InsightView:
    async with conn.cursor(row_factory=class_row(InsightView)) as cursor:
        await cursor.execute(_LEARN.encode(), values)
        learnt = await cursor.fetchone()
    assert learnt is not None, "the statement returns the row that it writes"
    return learnt


async def unlearn(conn: AsyncConnection[DictRow], feedback: str) -> None:
    await conn.execute(_UNLEARN, [feedback])


async def newest(conn: AsyncConnection[DictRow], about: str, most: int) -> list[Recollection]:
    rows = await (await conn.execute(_NEWEST, [about, most])).fetchall()
    return [Recollection(text=row["text"], source="person" if row["trusted"] else "document") for row in rows]


async def page(conn: AsyncConnection[DictRow], about: str, before: str | None, limit: int) -> list[InsightView]:
    async with conn.cursor(row_factory=class_row(InsightView)) as cursor:
        await cursor.execute(_PAGE.encode(), {"about": about, "before": before, "limit": limit})
        return await cursor.fetchall()


async def find(conn: AsyncConnection[DictRow], insight: str) -> InsightView | None:
    async with conn.cursor(row_factory=class_row(InsightView)) as cursor:
        await cursor.execute(_FIND.encode(), [insight])
        return await cursor.fetchone()


async def drop(conn: AsyncConnection[DictRow], insight: str) -> None:
    await conn.execute(_DROP, [insight])
