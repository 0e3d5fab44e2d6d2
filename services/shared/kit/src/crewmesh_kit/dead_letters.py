"""Dead letters: what could not be handled is kept, can be looked at, and can be sent again once its cause is gone.

A letter belongs to the organization its event names. One that names none, or is no event at all, is seen by operators
of the platform only.
"""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import Annotated, cast

import psycopg
from crewmesh_contracts.base import JsonObject, JsonValue, Reply
from crewmesh_contracts.events import CloudEvent
from fastapi import APIRouter
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from pydantic import ValidationError

from crewmesh_kit import audit
from crewmesh_kit.dapr.dead_topics import NOTICE_TYPE, DeadLetterNotice, dead_topic
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.dapr.subscriptions import RETRY, SUCCESS, PoisonMessage, Subscriptions, Verdict, read_event
from crewmesh_kit.db.database import Database, DatabaseUnavailable
from crewmesh_kit.errors import NotFound
from crewmesh_kit.http.pagination import Page, PageQuery, PageRequest
from crewmesh_kit.identity import Identity, requires
from crewmesh_kit.ids import new_id
from crewmesh_kit.logs import get_logger
from crewmesh_kit.resources import Resources, provided

OPERATE = "platform:operate"
_GAVE_UP = "it was tried again and again, as long as the delivery policy allows, and never worked"
_BYTES = "data:application/octet-stream;base64,"
_VISIBLE = "(org_id = %(organization)s OR (%(operator)s AND org_id IS NULL))"

# No JSON, or JSON that PostgreSQL cannot hold: a NUL character, half a surrogate, too deep.
_NO_JSON = (ValueError, RecursionError, psycopg.DataError, psycopg.errors.StatementTooComplex)

log = get_logger(__name__)


class DeadLetter(Reply):
    """A message that could not be handled. ``event`` when it was JSON, else ``raw``."""

    id: str
    topic: str
    event: JsonValue = None
    raw: str | None = None
    reason: str
    at: datetime
    redriven_at: datetime | None = None


class DeadLetters:
    """The letters of one service."""

    def __init__(self, database: Database, sidecar: Sidecar) -> None:
        self._database = database
        self._sidecar = sidecar

    async def keep(self, topic: str, payload: bytes) -> None:
        """Store what arrived on the dead letter topic of ``topic``: our own notice, or bytes the sidecar gave up on."""
        notice, letter_id = _read_notice(payload)
        if notice is None:
            notice = DeadLetterNotice.of(topic, payload, _GAVE_UP)
        async with self._database.system() as conn:
            try:
                async with conn.transaction():
                    await _insert(conn, letter_id, notice, as_event=True)
            except _NO_JSON:
                await _insert(conn, letter_id, notice, as_event=False)

    async def list(self, identity: Identity, page: PageRequest) -> Page[DeadLetter]:
        """Newest first."""
        after = page.after_text()
        async with self._database.system() as conn:
            cursor = await conn.execute(
                "SELECT id, topic, event, raw, reason, at, redriven_at FROM dead_letters"
                f" WHERE {_VISIBLE} AND (%(after)s::text IS NULL OR id < %(after)s)"
                " ORDER BY id DESC LIMIT %(limit)s",
                {**_who(identity), "after": after, "limit": page.limit + 1},
            )
            found = [DeadLetter.model_validate(row) for row in await cursor.fetchall()]
        return page.page(found, lambda letter: (letter.id,))

    async def redrive(self, identity: Identity, letter_id: str) -> DeadLetter:
        """Publish the message again as it was, once: asking again changes nothing."""
        async with self._database.system() as conn:
            cursor = await conn.execute(
                "SELECT id, topic, event, raw, reason, at, redriven_at FROM dead_letters"
                f" WHERE {_VISIBLE} AND id = %(id)s FOR UPDATE",
                {**_who(identity), "id": letter_id},
            )
            row = await cursor.fetchone()
            if row is None:
                raise NotFound(f"There is no dead letter {letter_id[:80]}.")
            letter = DeadLetter.model_validate(row)
            if letter.redriven_at is not None:
                return letter
            await self._sidecar.publish_raw(letter.topic, _payload_of(letter))
            cursor = await conn.execute(
                "UPDATE dead_letters SET redriven_at = now() WHERE id = %s RETURNING redriven_at", [letter_id]
            )
            updated = cast(DictRow, await cursor.fetchone())
            await audit.record(conn, identity, "dead-letter.redriven", letter_id, after={"topic": letter.topic})
            log.info("dead letter was sent again", letter=letter_id, topic=letter.topic, by=identity.subject)
            return letter.model_copy(update={"redriven_at": updated["redriven_at"]})


def keep_dead_letters(subscriptions: Subscriptions, resources: Resources, topic: str) -> None:
    """Listen to the dead letter topic of ``topic``."""

    async def keep(payload: bytes) -> Verdict:
        try:
            await resources.get(DeadLetters).keep(topic, payload)
        except DatabaseUnavailable as problem:
            log.warning("dead letter waits for the database", topic=topic, reason=problem.detail)
            return RETRY
        return SUCCESS

    subscriptions.add_raw(dead_topic(topic), keep)


router = APIRouter(prefix="/v1/dead-letters", tags=["dead letters"])


@router.get("")
async def list_dead_letters(
    identity: Annotated[Identity, requires("dead-letters:read")],
    letters: Annotated[DeadLetters, provided(DeadLetters)],
    page: PageQuery,
) -> Page[DeadLetter]:
    """Messages that could not be handled, newest first."""
    return await letters.list(identity, page)


@router.post("/{letter_id}/redrive", status_code=202)
async def redrive_dead_letter(
    letter_id: str,
    identity: Annotated[Identity, requires("dead-letters:redrive")],
    letters: Annotated[DeadLetters, provided(DeadLetters)],
) -> DeadLetter:
    """Send the message again. Sending it twice is prevented; a message that fails again is a new dead letter."""
    return await letters.redrive(identity, letter_id)


async def _insert(conn: AsyncConnection[DictRow], letter_id: str, notice: DeadLetterNotice, *, as_event: bool) -> None:
    payload = notice.payload
    event = payload.decode() if as_event else None
    if event is not None:
        json.loads(event)  # PostgreSQL would say less clearly what is wrong
    # A notice that is delivered twice is the same letter.
    await conn.execute(
        "INSERT INTO dead_letters (id, org_id, topic, event, raw, reason) VALUES (%s, %s, %s, %s::jsonb, %s, %s)"
        " ON CONFLICT (id) DO NOTHING",
        [
            letter_id,
            _organization_of(payload),
            notice.topic,
            event,
            None if as_event else _as_text(payload),
            notice.reason.replace("\0", "�"),
        ],
    )


def _who(identity: Identity) -> dict[str, str | bool]:
    return {"organization": identity.organization, "operator": identity.allows(OPERATE)}


def _read_notice(payload: bytes) -> tuple[DeadLetterNotice | None, str]:
    """Our own notice with an id made from its event's, or nothing and a new id."""
    try:
        event, _ = read_event(payload)
        if event.type == NOTICE_TYPE:
            return DeadLetterNotice.model_validate(event.data), "dl_" + event.id.removeprefix("evt_")
    except (PoisonMessage, ValidationError):
        pass  # whatever else it is, it is kept as it came
    return None, new_id("dl")


def _organization_of(payload: bytes) -> str | None:
    """Only a well-formed event is believed about whose it is."""
    try:
        named = cast(object, json.loads(payload))
        claimed = cast(JsonObject, named).get("crewmeshorg") if isinstance(named, dict) else None
        probe = CloudEvent(id="x", source="x", type="x", crewmeshorg=cast("str | None", claimed))
    except (ValueError, RecursionError):
        return None
    return probe.crewmeshorg


def _as_text(payload: bytes) -> str:
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        text = "\0"
    return _BYTES + base64.b64encode(payload).decode() if "\0" in text else text


def _payload_of(letter: DeadLetter) -> bytes:
    if letter.raw is None:
        return json.dumps(letter.event, ensure_ascii=False).encode()
    if letter.raw.startswith(_BYTES):
        return base64.b64decode(letter.raw.removeprefix(_BYTES))
    return letter.raw.encode()
