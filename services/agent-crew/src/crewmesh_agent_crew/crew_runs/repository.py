"""The SQL of crew runs as they are begun, asked about, decided and cancelled. Row-level security bounds all of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from crewmesh_contracts.invocations import CrewQuestion, Verdict
from crewmesh_kit.db.storable import clean
from crewmesh_kit.sharing.rules import Reach
from crewmesh_kit.telemetry import trace_headers
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from crewmesh_agent_crew.crew_runs.models import DOING, AgentWork, CrewWork, Kind, Result, Standing, Status, Work
from crewmesh_agent_crew.models.usage import Used

_STANDING = """
SELECT id, kind, name, fingerprint, status, outcome, error, usage, charge, crew_id, agent_id, started_by,
    coalesce((SELECT jsonb_agg(to_jsonb(q) ORDER BY q.asked_at, q.id) FROM crew_questions q
              WHERE q.crew_run = crew_runs.id AND q.decided_at IS NULL AND crew_runs.status = 'waiting'), '[]') AS open
FROM crew_runs
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A page of runs. ``me``: whose chats are seen. Reaches: which crews and agents are."""

    me: str
    crews: Reach
    agents: Reach
    status: Status | None = None
    kind: Kind | None = None
    crew: str | None = None
    agent: str | None = None
    since: datetime | None = None
    until: datetime | None = None


_SEEN = """
CASE kind WHEN 'chat' THEN started_by = %(me)s ELSE
    (crew_id IS NULL OR ((%(crews_only)s::text[] IS NULL OR crew_id = ANY(%(crews_only)s))
                         AND crew_id <> ALL(%(crews_but)s::text[])))
    AND (agent_id IS NULL OR ((%(agents_only)s::text[] IS NULL OR agent_id = ANY(%(agents_only)s))
                              AND agent_id <> ALL(%(agents_but)s::text[])))
END
"""
# Not what is worked on and what came of it: a single one may be megabytes.
_PAGE = f"""
SELECT id, kind, name, version, status, requested_by, conversation, error, usage, charge,
    created_at, started_at, ended_at
FROM crew_runs WHERE {_SEEN}
    AND (%(before)s::text IS NULL OR id < %(before)s)
    AND (%(status)s::text IS NULL OR status = %(status)s)
    AND (%(kind)s::text IS NULL OR kind = %(kind)s)
    AND (%(crew)s::text IS NULL OR (name = %(crew)s AND crew_id IS NOT NULL AND work->>'of' = 'crew'))
    AND (%(agent)s::text IS NULL OR (name = %(agent)s AND work->>'of' = 'agent'))
    AND (%(since)s::timestamptz IS NULL OR created_at >= %(since)s)
    AND (%(until)s::timestamptz IS NULL OR created_at < %(until)s)
ORDER BY id DESC LIMIT %(limit)s
"""


class CrewRunRepository:
    def __init__(self, connection: AsyncConnection[DictRow]) -> None:
        self._connection = connection

    async def add(self, organization: str, id_: str, work: Work) -> bool:
        """False when there is one under the key already."""
        cursor = await self._connection.execute(
            "INSERT INTO crew_runs (id, org_id, kind, name, crew_id, agent_id, version, key, fingerprint, work, charge,"
            " requested_by, started_by, conversation, untrusted, status, due_at, traceparent)"
            " VALUES (%(id)s, %(org)s, %(kind)s, %(name)s, %(crew)s, %(agent)s, %(version)s, %(key)s, %(same)s,"
            " %(work)s, %(charge)s, %(requested_by)s, %(started_by)s, %(conversation)s, %(untrusted)s, 'queued', now(),"
            " %(traceparent)s) ON CONFLICT (org_id, key) DO NOTHING",
            {
                "id": id_,
                "org": organization,
                "kind": work.kind,
                "name": work.name,
                "crew": work.crew_id,
                "agent": work.agent_id,
                "version": work.version,
                "key": work.key or id_,
                "same": work.same,
                "work": Jsonb(clean(work.doing.model_dump(mode="json"))),
                "charge": Jsonb(work.charge.model_dump(mode="json")),
                "requested_by": work.requested_by,
                "started_by": work.started_by,
                "conversation": work.charge.conversation,
                "untrusted": work.untrusted,
                "traceparent": trace_headers().get("traceparent"),
            },
        )
        return cursor.rowcount == 1

    async def queued(self, organization: str, *, at_most: int) -> int:
        """How many wait to be begun, counted so far."""
        cursor = await self._connection.execute(
            "SELECT count(*) AS n FROM"
            " (SELECT FROM crew_runs WHERE org_id = %s AND status = 'queued' LIMIT %s) AS waiting",
            [organization, at_most],
        )
        row = await cursor.fetchone()
        return 0 if row is None else int(row["n"])

    async def standing(self, *, id_: str | None = None, key: str | None = None) -> Standing | None:
        cursor = await self._connection.execute(
            f"{_STANDING} WHERE (%(id)s::text IS NOT NULL AND id = %(id)s)"
            " OR (%(key)s::text IS NOT NULL AND key = %(key)s)",
            {"id": id_, "key": key},
        )
        row = await cursor.fetchone()
        return None if row is None else _standing(row)

    async def was_stopped(self, key: str) -> bool:
        cursor = await self._connection.execute("SELECT FROM stops WHERE key = %s", [key])
        return await cursor.fetchone() is not None

    async def begin_again(self, id_: str) -> None:
        """A run that failed of something that may pass."""
        await self._connection.execute(
            "UPDATE crew_runs SET status = 'queued', due_at = now(), error = NULL, ended_at = NULL"
            " WHERE id = %s AND status = 'failed'",
            [id_],
        )

    async def decide(self, id_: str, verdict: Verdict) -> bool:
        """Whether it was decided by this; then the run is looked at again. The run's row is locked first."""
        await self._connection.execute("SELECT FROM crew_runs WHERE id = %s FOR UPDATE", [id_])
        cursor = await self._connection.execute(
            "UPDATE crew_questions SET approved = %s, edited = %s, decided_by = %s, decided_at = now()"
            " WHERE crew_run = %s AND id = %s AND decided_at IS NULL AND kind = 'tool' RETURNING agent, title",
            [
                verdict.approved,
                None if verdict.arguments is None else Jsonb(clean(verdict.arguments)),
                verdict.by,
                id_,
                verdict.question,
            ],
        )
        row = await cursor.fetchone()
        if row is None:
            return False
        said = "yes" if verdict.approved else "no"
        await self._connection.execute(
            "WITH told AS (UPDATE crew_runs SET told = told + 1, seq = seq + 1,"
            " status = CASE status WHEN 'waiting' THEN 'queued' ELSE status END,"
            " due_at = CASE status WHEN 'waiting' THEN now() ELSE due_at END"
            " WHERE id = %(run)s RETURNING id, org_id, seq)"
            " INSERT INTO crew_messages (crew_run, org_id, seq, ref, kind, sender, receiver, task, text)"
            " SELECT id, org_id, seq, %(ref)s, 'decision', %(by)s, %(agent)s, '', %(text)s FROM told",
            {
                "run": id_,
                "ref": f"decision/{verdict.question}",
                "by": verdict.by,
                "agent": row["agent"],
                "text": f"{row['title']} {said}",
            },
        )
        return True

    async def ask_to_stop(self, *, id_: str | None = None, key: str | None = None) -> str | None:
        """The id of the run, if there is one that has not ended; what nobody drives is looked at now."""
        cursor = await self._connection.execute(
            "UPDATE crew_runs SET stop_asked = true,"
            " status = CASE status WHEN 'waiting' THEN 'queued' ELSE status END,"
            " due_at = CASE status WHEN 'working' THEN due_at ELSE now() END"
            " WHERE (id = %s OR key = %s) AND status IN ('queued', 'working', 'waiting') RETURNING id",
            [id_, key],
        )
        row = await cursor.fetchone()
        return None if row is None else str(row["id"])

    async def forget_chat(self, conversation: str) -> None:
        await self._connection.execute(
            "DELETE FROM crew_runs WHERE kind = 'chat' AND conversation = %s", [conversation]
        )

    async def doing(self, id_: str) -> CrewWork | AgentWork | None:
        cursor = await self._connection.execute("SELECT work FROM crew_runs WHERE id = %s", [id_])
        row = await cursor.fetchone()
        return None if row is None else DOING.validate_python(row["work"])

    async def get(self, id_: str, wanted: Wanted) -> DictRow | None:
        cursor = await self._connection.execute(
            f"SELECT * FROM crew_runs WHERE id = %(id)s AND {_SEEN}", {"id": id_, **_reaches(wanted)}
        )
        return await cursor.fetchone()

    async def before(self, wanted: Wanted, id_: str | None, limit: int) -> list[DictRow]:
        """The newest first: ids grow with time."""
        cursor = await self._connection.execute(
            _PAGE,
            {
                **_reaches(wanted),
                "before": id_,
                "limit": limit,
                "status": wanted.status,
                "kind": wanted.kind,
                "crew": wanted.crew,
                "agent": wanted.agent,
                "since": wanted.since,
                "until": wanted.until,
            },
        )
        return await cursor.fetchall()

    async def messages(self, id_: str, after: int, limit: int, *, with_status: bool = False) -> list[DictRow]:
        cursor = await self._connection.execute(
            "SELECT seq, ref, kind, sender, receiver, task, text, at FROM crew_messages"
            " WHERE crew_run = %s AND seq > %s AND (%s OR kind <> 'status') ORDER BY seq LIMIT %s",
            [id_, after, with_status, limit],
        )
        return await cursor.fetchall()

    async def questions(self, id_: str) -> list[DictRow]:
        cursor = await self._connection.execute(
            "SELECT * FROM crew_questions WHERE crew_run = %s ORDER BY asked_at, id", [id_]
        )
        return await cursor.fetchall()


def _reaches(wanted: Wanted) -> Mapping[str, object]:
    crews, agents = wanted.crews.parameters, wanted.agents.parameters
    return {
        "me": wanted.me,
        "crews_only": crews["only"],
        "crews_but": crews["but"],
        "agents_only": agents["only"],
        "agents_but": agents["but"],
    }


def _standing(row: DictRow) -> Standing:
    return Standing(
        id=row["id"],
        kind=row["kind"],
        name=row["name"],
        fingerprint=row["fingerprint"],
        status=row["status"],
        used=Used.model_validate(row["usage"]),
        charge=row["charge"],
        started_by=row["started_by"],
        crew_id=row["crew_id"],
        agent_id=row["agent_id"],
        result=None if row["outcome"] is None else Result.model_validate(row["outcome"]),
        problem=row["error"],
        questions=tuple(CrewQuestion.model_validate(each) for each in row["open"]),
    )
