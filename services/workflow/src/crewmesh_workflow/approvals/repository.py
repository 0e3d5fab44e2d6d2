"""SQL of questions to people.

The engine writes each with the step that waits, and closes it; here they are read, and what people say is noted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_kit.sharing.rules import Reach
from psycopg import AsyncConnection
from psycopg.rows import DictRow, class_row
from psycopg.types.json import Jsonb

from crewmesh_workflow.approvals.rules import Kind, Verdict, Vote
from crewmesh_workflow.approvals.schemas import Status, StatusFilter

# A step that was cancelled does not wait any more, whatever its question looks like; nor does a run that has ended.
_STATUS = """
CASE WHEN w.verdict IS NOT NULL THEN 'decided'
     WHEN s.status = 'cancelled' THEN 'cancelled'
     WHEN w.status = 'open' AND r.finished_at IS NOT NULL THEN 'cancelled'
     WHEN w.status = 'open' AND (w.until IS NULL OR w.until > clock_timestamp()) THEN 'open'
     WHEN w.until <= clock_timestamp() THEN 'expired'
     ELSE 'cancelled' END
"""
# Those that steps have asked last, and those that they asked before.
_COLUMNS = "id, run_id, path, org_id, kind, status, request, until, escalate_at, verdict, decided_at, created_at"
_ALL = f"(SELECT {_COLUMNS} FROM waits UNION ALL SELECT {_COLUMNS} FROM past_questions)"
_QUESTION = f"""
SELECT w.id, w.run_id AS run, w.path, w.kind, w.request, {_STATUS} AS status, w.verdict, w.until, w.created_at,
    w.decided_at, w.escalate_at, r.workflow_id AS workflow, r.workflow_version
FROM {_ALL} w JOIN runs r ON r.id = w.run_id LEFT JOIN steps s ON s.run_id = w.run_id AND s.path = w.path
WHERE w.org_id = %(org)s AND w.kind IN ('approval', 'input', 'outcome')
"""
_GET = f"{_QUESTION} AND w.id = %(id)s"
_LOCK_RUN = "SELECT id FROM runs WHERE id = (SELECT run_id FROM waits WHERE org_id = %s AND id = %s) FOR NO KEY UPDATE"
_LOCK = "SELECT id FROM waits WHERE org_id = %s AND id = %s FOR UPDATE"
# Newest first; ids are ordered by time. What is open is found without looking at what is not.
_PAGE = f"""
SELECT * FROM ({_QUESTION}
    AND (%(before)s::text IS NULL OR w.id < %(before)s)
    AND (%(status)s <> 'open' OR (w.status = 'open' AND w.verdict IS NULL))
    AND (%(kind)s::text IS NULL OR w.kind = %(kind)s)
    AND (%(run)s::text IS NULL OR w.run_id = %(run)s)
    AND (%(workflow)s::text IS NULL OR r.workflow_id = %(workflow)s)
    AND (((%(only)s::text[] IS NULL OR r.workflow_id = ANY(%(only)s)) AND r.workflow_id <> ALL(%(but)s::text[]))
         OR w.request->'assignees' ?| %(asked)s)
    AND (%(names)s::text[] IS NULL OR w.request->'assignees' ?| %(names)s
         OR coalesce(w.request->'assignees', '[]') = '[]')
) AS asked WHERE %(status)s = 'all' OR status = %(status)s
ORDER BY id DESC LIMIT %(limit)s
"""
_VOTES = """
SELECT subject AS by, proposal, approved, comment, data, at FROM decisions
WHERE org_id = %s AND wait_id = %s ORDER BY at, proposal
"""


@dataclass(frozen=True, slots=True)
class Question:
    """One row that asks people for something, as it is stored."""

    id: str
    run: str
    path: str
    kind: Kind
    request: JsonObject
    status: Status
    verdict: Verdict | None
    until: datetime | None
    created_at: datetime
    decided_at: datetime | None
    escalate_at: datetime | None
    workflow: str
    workflow_version: int

    @property
    def title(self) -> str:
        return str(self.request.get("title") or self.path)

    @property
    def details(self) -> str | None:
        details = self.request.get("details")
        return None if details is None else str(details)

    @property
    def assignees(self) -> tuple[str, ...]:
        return tuple(cast("list[str]", self.request.get("assignees") or []))

    @property
    def quorum(self) -> int:
        return cast(int, self.request.get("quorum") or 1)

    @property
    def form(self) -> JsonObject | None:
        return cast("JsonObject | None", self.request.get("form"))

    @property
    def asks_before_effect(self) -> bool:
        """A policy asks before an effect is done; what is proposed is the effect's input."""
        return self.kind == "approval" and "input" in self.request

    @property
    def original(self) -> JsonValue:
        """What was proposed when it was asked first."""
        return self.request.get("input" if self.asks_before_effect else "data") if self.kind == "approval" else None

    @property
    def escalated(self) -> bool:
        return self.request.get("escalation") is not None and self.escalate_at is None

    @property
    def about(self) -> JsonObject:
        told = {"title", "details", "assignees", "quorum", "form", "escalation", "data"}
        if self.asks_before_effect:
            told |= {"input"}
        return {name: value for name, value in self.request.items() if name not in told}


async def page(
    conn: AsyncConnection[DictRow],
    organization: str,
    reach: Reach,
    *,
    asked: Sequence[str],
    before: str | None,
    status: StatusFilter,
    kind: Kind | None,
    run: str | None,
    workflow: str | None,
    names: Sequence[str] | None,
    limit: int,
) -> list[Question]:
    """``names``: only what is asked of these, or of everybody. Out of ``reach``: only what is ``asked`` of these."""
    wanted = {"org": organization, "before": before, "status": status, "kind": kind, "run": run, "workflow": workflow}
    wanted |= {**reach.parameters, "asked": [*asked]}
    async with conn.cursor(row_factory=class_row(Question)) as cursor:
        await cursor.execute(_PAGE, {**wanted, "names": None if names is None else [*names], "limit": limit})
        return await cursor.fetchall()


async def get(conn: AsyncConnection[DictRow], organization: str, approval: str) -> Question | None:
    async with conn.cursor(row_factory=class_row(Question)) as cursor:
        await cursor.execute(_GET, {"org": organization, "id": approval})
        return await cursor.fetchone()


async def lock(conn: AsyncConnection[DictRow], organization: str, approval: str) -> Question | None:
    """The question as nobody else can change it before this transaction ends.

    Locked in the order in which the engine locks, the run first; read afterwards, so that what a transaction before
    this one has changed is seen.
    """
    await conn.execute(_LOCK_RUN, [organization, approval])
    await conn.execute(_LOCK, [organization, approval])
    return await get(conn, organization, approval)


async def votes(conn: AsyncConnection[DictRow], organization: str, approval: str) -> list[Vote]:
    """In the order in which they were given."""
    async with conn.cursor(row_factory=class_row(Vote)) as cursor:
        await cursor.execute(_VOTES, [organization, approval])
        return await cursor.fetchall()


async def add_vote(conn: AsyncConnection[DictRow], organization: str, question: Question, vote: Vote) -> None:
    await conn.execute(
        "INSERT INTO decisions (wait_id, org_id, run_id, subject, proposal, approved, comment, data, at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, clock_timestamp())",
        [
            question.id,
            organization,
            question.run,
            vote.by,
            vote.proposal,
            vote.approved,
            vote.comment,
            None if vote.data is None else Jsonb(vote.data),
        ],
    )


async def decided(conn: AsyncConnection[DictRow], organization: str, approval: str, verdict: Verdict) -> None:
    """Note what came of it. The engine closes the row, when it has seen what arrived."""
    await conn.execute(
        "UPDATE waits SET verdict = %s, decided_at = clock_timestamp() WHERE org_id = %s AND id = %s",
        [verdict, organization, approval],
    )


async def use_link(conn: AsyncConnection[DictRow], organization: str, run: str, nonce: str) -> bool:
    """Whether the link was not used before."""
    inserted = await conn.execute(
        "INSERT INTO used_links (nonce, org_id, run_id) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
        [nonce, organization, run],
    )
    return inserted.rowcount == 1


async def is_used(conn: AsyncConnection[DictRow], organization: str, nonce: str, before_seconds: float) -> bool:
    """Whether the link was used, so many seconds ago or more."""
    cursor = await conn.execute(
        "SELECT 1 FROM used_links"
        " WHERE org_id = %s AND nonce = %s AND at <= clock_timestamp() - make_interval(secs => %s)",
        [organization, nonce, before_seconds],
    )
    return await cursor.fetchone() is not None
