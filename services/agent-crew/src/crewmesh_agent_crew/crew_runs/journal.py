"""The SQL of those who drive crew runs: taking, holding and writing, each one statement that commits by itself.

Every write names the epoch under which the run was taken; after somebody else took it, nothing is written. A statement
may be repeated when nobody knows whether it was committed: what it adds is there once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.invocations import Verdict
from crewmesh_kit.db.database import Database, persistently
from crewmesh_kit.db.storable import clean, clean_text
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from crewmesh_agent_crew.crew_runs.errors import LeaseLostError
from crewmesh_agent_crew.crew_runs.models import (
    DOING,
    Held,
    Past,
    Spoken,
    Status,
    Turned,
)
from crewmesh_agent_crew.crew_runs.stage import Said
from crewmesh_agent_crew.models.usage import Used
from crewmesh_agent_crew.spending.charged_to import ChargedTo
from crewmesh_agent_crew.tools.toolbox import Question

# A stop may have been asked for under the key before there was a run.
_HELD = """
id, org_id, kind, name, crew_id, agent_id, key, work, charge, epoch, conversation, untrusted, told, fruitless,
traceparent, stop_asked OR EXISTS (
    SELECT FROM stops WHERE stops.org_id = crew_runs.org_id AND stops.key = crew_runs.key
) AS stop_asked
"""
_TAKEN = (
    "status = 'working', epoch = epoch + 1, fruitless = fruitless + 1, started_at = coalesce(started_at, now()),"
    " due_at = now() + make_interval(secs => %(lease)s)"
)
# Organizations take turns, and none has more than its share of the places here.
_TAKE_DUE = f"""
WITH due AS (
    SELECT id, org_id, due_at FROM crew_runs WHERE due_at <= now() ORDER BY due_at LIMIT 500
), ranked AS (
    SELECT id, org_id, due_at, row_number() OVER (PARTITION BY org_id ORDER BY due_at) AS turn FROM due
), chosen AS (
    SELECT id FROM ranked WHERE turn <= %(share)s - coalesce((%(working)s::jsonb ->> org_id)::int, 0)
    ORDER BY turn, due_at LIMIT %(places)s
)
UPDATE crew_runs SET {_TAKEN} WHERE id IN (
    SELECT id FROM crew_runs WHERE id IN (SELECT id FROM chosen) AND due_at <= now() FOR UPDATE SKIP LOCKED
) RETURNING {_HELD}
"""
_TAKE_ONE = f"UPDATE crew_runs SET {_TAKEN} WHERE id = %(run)s AND due_at <= now() RETURNING {_HELD}"
_EXTEND = """
UPDATE crew_runs SET due_at = now() + make_interval(secs => %(lease)s)
FROM unnest(%(runs)s::text[], %(epochs)s::int[]) AS held(id, epoch)
WHERE crew_runs.id = held.id AND crew_runs.epoch = held.epoch AND crew_runs.status = 'working'
RETURNING crew_runs.id, crew_runs.epoch, crew_runs.stop_asked
"""
_GIVE_BACK = """
UPDATE crew_runs SET due_at = now() + make_interval(secs => %(seconds)s), fruitless = greatest(fruitless - 1, 0)
FROM unnest(%(runs)s::text[], %(epochs)s::int[]) AS held(id, epoch)
WHERE crew_runs.id = held.id AND crew_runs.epoch = held.epoch AND crew_runs.status = 'working'
"""
_COMMIT = """
WITH moved AS (
    UPDATE crew_runs SET seq = seq + %(said)s, usage = %(usage)s, fruitless = 0,
        outcome = %(outcome)s, error = %(error)s,
        status = CASE WHEN %(status)s = 'waiting' AND (stop_asked OR told <> %(told)s) THEN 'queued'
                 ELSE %(status)s END,
        due_at = CASE WHEN %(status)s = 'working' THEN due_at
                 WHEN %(status)s = 'waiting' AND (stop_asked OR told <> %(told)s) THEN now()
                 ELSE now() + make_interval(secs => %(again)s) END,
        ended_at = CASE WHEN %(status)s IN ('completed', 'failed', 'cancelled') THEN now() END
    WHERE id = %(run)s AND epoch = %(epoch)s AND status = 'working'
    RETURNING id, org_id, seq - %(said)s AS before
), turned AS (
    INSERT INTO crew_turns (crew_run, org_id, path, said, usage)
    SELECT moved.id, moved.org_id, turn.path, turn.said, turn.usage
    FROM moved, jsonb_to_recordset(%(turns)s) AS turn(path text, said jsonb, usage jsonb)
    ON CONFLICT DO NOTHING
), spoken AS (
    INSERT INTO crew_messages (crew_run, org_id, seq, ref, kind, sender, receiver, task, text)
    SELECT moved.id, moved.org_id, moved.before + nth, ref, kind, sender, receiver, task, text
    FROM moved, ROWS FROM (
        jsonb_to_recordset(%(messages)s) AS (ref text, kind text, sender text, receiver text, task text, text text)
    ) WITH ORDINALITY AS message(ref, kind, sender, receiver, task, text, nth)
    ON CONFLICT DO NOTHING
), asked AS (
    INSERT INTO crew_questions (crew_run, org_id, id, kind, title, agent, tool, arguments)
    SELECT moved.id, moved.org_id, question.id, kind, title, agent, tool, arguments
    FROM moved, jsonb_to_recordset(%(questions)s)
        AS question(id text, kind text, title text, agent text, tool text, arguments jsonb)
    ON CONFLICT DO NOTHING
), settled AS (
    DELETE FROM crew_questions USING moved
    WHERE crew_run = moved.id AND crew_questions.id = ANY(%(settled)s) AND decided_at IS NULL
)
SELECT before FROM moved
"""
_SAY = """
WITH moved AS (
    UPDATE crew_runs SET seq = seq + 1, fruitless = 0
    WHERE id = %(run)s AND epoch = %(epoch)s AND status = 'working' RETURNING id, org_id, seq
), spoken AS (
    INSERT INTO crew_messages (crew_run, org_id, seq, ref, kind, sender, receiver, task, text)
    SELECT id, org_id, seq, %(ref)s, %(kind)s, %(sender)s, %(receiver)s, %(task)s, %(text)s FROM moved
    ON CONFLICT DO NOTHING
)
SELECT FROM moved
"""
_WAS_IT_DONE = "SELECT FROM crew_runs WHERE id = %(run)s AND epoch = %(epoch)s AND status <> 'working'"
_TURNS = "SELECT path, said, usage FROM crew_turns WHERE crew_run = %(run)s"
_QUESTIONS = (
    "SELECT id, kind, title, agent, tool, arguments, approved, edited, decided_by FROM crew_questions"
    " WHERE crew_run = %(run)s"
)
_WAKE_BUDGETS = "UPDATE crew_runs SET due_at = now() WHERE status = 'waiting' AND due_at > now() RETURNING id"

MessageKind: TypeAlias = Literal["instruction", "answer", "tool", "question", "decision", "note", "status"]


@dataclass(frozen=True, slots=True)
class Message:
    """``ref`` is the same for the same message after every crash."""

    ref: str
    kind: MessageKind
    text: str
    sender: str = ""
    receiver: str = ""
    task: str = ""


@dataclass(frozen=True, slots=True)
class Commit:
    """What became true. ``again``: seconds after which a run that waits is looked at again; none: when it is told."""

    used: Used
    status: Status = "working"
    turns: Sequence[tuple[str, Turned]] = ()
    messages: Sequence[Message] = ()
    questions: Sequence[Question] = ()
    settled: Sequence[str] = ()
    outcome: JsonObject | None = None
    error: JsonObject | None = None
    again: float | None = None


class Journal:
    def __init__(self, database: Database, *, lease_seconds: float) -> None:
        self._database = database
        self._lease = lease_seconds

    async def take_due(self, *, places: int, share: int, working: Mapping[str, int]) -> list[Held]:
        """Runs that somebody must look at, up to so many; from now on they are ours."""
        parameters = {"lease": self._lease, "places": places, "share": share, "working": Jsonb(dict(working))}
        return [_held(row) for row in await self._database.statement(_TAKE_DUE, parameters)]

    async def take(self, run: str) -> Held | None:
        """This run, unless somebody has it."""
        rows = await self._database.statement(_TAKE_ONE, {"lease": self._lease, "run": run})
        return _held(rows[0]) if rows else None

    async def extend(self, runs: Sequence[str], epochs: Sequence[int]) -> dict[tuple[str, int], bool]:
        """Those that are still ours, and whether somebody asked for each to stop."""
        parameters = {"lease": self._lease, "runs": list(runs), "epochs": list(epochs)}
        rows = await self._database.statement(_EXTEND, parameters)
        return {(row["id"], row["epoch"]): row["stop_asked"] for row in rows}

    async def give_back(self, runs: Sequence[str], epochs: Sequence[int], *, seconds: float = 0) -> None:
        """Whoever looks in so many seconds may take over. Nothing was wrong with them."""
        parameters = {"seconds": seconds, "runs": list(runs), "epochs": list(epochs)}
        await self._database.statement(_GIVE_BACK, parameters)

    async def past(self, run: str) -> Past:
        turns = await self._database.statement(_TURNS, {"run": run})
        questions = await self._database.statement(_QUESTIONS, {"run": run})
        return Past(
            turns={row["path"]: _turned(row) for row in turns},
            verdicts={row["id"]: _verdict(row) for row in questions if row["approved"] is not None},
            questions={row["id"]: Question.model_validate(_plain(row)) for row in questions},
        )

    async def commit(self, held: Held, commit: Commit) -> None:
        """All of it or nothing. Raises LeaseLostError when the run is not ours any more."""
        place = {"run": held.id, "epoch": held.epoch, "status": commit.status}
        parameters = {**place, "told": held.told, **_columns(commit)}

        async def write() -> bool:
            return bool(await self._database.statement(_COMMIT, parameters))

        if await persistently(write):
            return
        # A first try may have been committed without our hearing of it.
        if commit.status == "working" or not await self._database.statement(_WAS_IT_DONE, place):
            raise LeaseLostError(held.id)

    async def say_within(self, connection: AsyncConnection[DictRow], held: Held, message: Message) -> None:
        """A message that is there if and only if the transaction is committed. Raises LeaseLostError as well."""
        cursor = await connection.execute(_SAY, {"run": held.id, "epoch": held.epoch, **_message_row(message)})
        if cursor.rowcount == 0:
            raise LeaseLostError(held.id)

    async def wake_waiting_for_budgets(self) -> int:
        return len(await self._database.statement(_WAKE_BUDGETS))


def _columns(commit: Commit) -> dict[str, object]:
    return {
        "said": len(commit.messages),
        "usage": Jsonb(commit.used.model_dump()),
        "outcome": None if commit.outcome is None else Jsonb(clean(commit.outcome)),
        "error": None if commit.error is None else Jsonb(clean(commit.error)),
        "again": commit.again,
        "turns": Jsonb([_turn_row(path, turned) for path, turned in commit.turns]),
        "messages": Jsonb([_message_row(message) for message in commit.messages]),
        "questions": Jsonb([clean(question.model_dump(mode="json")) for question in commit.questions]),
        "settled": list(commit.settled),
    }


def _turn_row(path: str, turned: Turned) -> JsonObject:
    said = turned.said
    spoken = Spoken(agent=said.agent, task=said.task, text=said.text, data=said.data)
    return {
        "path": path,
        "said": clean(spoken.model_dump(mode="json")),
        "usage": turned.used.model_dump(),
    }


def _message_row(message: Message) -> JsonObject:
    return {
        "ref": message.ref,
        "kind": message.kind,
        "sender": message.sender,
        "receiver": message.receiver,
        "task": message.task,
        "text": clean_text(message.text),
    }


def _held(row: DictRow) -> Held:
    return Held(
        id=row["id"],
        organization=row["org_id"],
        kind=row["kind"],
        name=row["name"],
        crew_id=row["crew_id"],
        agent_id=row["agent_id"],
        key=row["key"],
        doing=DOING.validate_python(row["work"]),
        charge=ChargedTo.model_validate(row["charge"]),
        epoch=row["epoch"],
        conversation=row["conversation"],
        untrusted=row["untrusted"],
        stop_asked=row["stop_asked"],
        told=row["told"],
        fruitless=row["fruitless"],
        traceparent=row["traceparent"],
    )


def _turned(row: DictRow) -> Turned:
    spoken = Spoken.model_validate(row["said"])
    said = Said(agent=spoken.agent, task=spoken.task, text=spoken.text, data=spoken.data)
    return Turned(said, Used.model_validate(row["usage"]))


def _verdict(row: DictRow) -> Verdict:
    return Verdict(question=row["id"], approved=row["approved"], arguments=row["edited"], by=row["decided_by"] or "")


def _plain(row: DictRow) -> dict[str, object]:
    return {name: row[name] for name in ("id", "kind", "title", "agent", "tool", "arguments")}
