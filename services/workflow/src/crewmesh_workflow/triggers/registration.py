"""The trigger rows of a workflow: rewritten when a version is published, with what a trigger has kept.

A trigger is the same from version to version by its key: its id, or its position where it has none. Then its address,
its secret and its place in time stay. Beside them stand rows of kind ``wait``, one for each type of event that runs of
the workflow may wait for; they go on while the workflow is paused, for its runs do too. And they stay whatever is
published, for runs of every version may come: an old run is done again, or a webhook starts the version it knew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow import Definition
from crewmesh_contracts.workflow.nodes.wait_event import WaitEventNode
from crewmesh_contracts.workflow.triggers.base import TriggerBase
from crewmesh_contracts.workflow.triggers.cron import CronTrigger
from crewmesh_contracts.workflow.triggers.event import EventTrigger
from crewmesh_contracts.workflow.triggers.run_ended import RunEndedTrigger
from crewmesh_kit.ids import new_id
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from pydantic import BaseModel
from pydantic_core import to_json

from crewmesh_workflow.schedules import next_time

WAIT = "wait"

_THERE = "SELECT key, id, kind, config, next_at, enabled FROM triggers WHERE workflow_id = %s FOR UPDATE"
_DROP = "DELETE FROM triggers WHERE workflow_id = %s AND key = ANY(%s)"
_WRITE = """
INSERT INTO triggers (id, org_id, workflow_id, workflow_version, key, kind, config, enabled, event_type, event_source,
                      next_at, target)
VALUES (%(id)s, %(org)s, %(workflow)s, %(version)s, %(key)s, %(kind)s, %(config)s::jsonb, %(enabled)s, %(type)s,
        %(source)s, %(next_at)s, %(target)s)
ON CONFLICT (workflow_id, key) DO UPDATE SET
    workflow_version = excluded.workflow_version, config = excluded.config, enabled = excluded.enabled,
    event_type = excluded.event_type, event_source = excluded.event_source, next_at = excluded.next_at,
    target = excluded.target
"""
_TARGET = """
SELECT id FROM workflows WHERE org_id = %(org)s AND (id = %(name)s OR (slug = %(name)s AND status <> 'archived'))
"""
# Triggers that named the workflow by its slug before it was there, or when the slug was another's.
_FOLLOW = """
UPDATE triggers t SET target = w.id FROM workflows w
WHERE w.id = %(workflow)s AND t.org_id = w.org_id AND t.kind = 'run_ended' AND t.config ->> 'workflow' = w.slug
    AND w.status <> 'archived' AND t.target IS DISTINCT FROM w.id
"""
_DISABLE = "UPDATE triggers SET enabled = false WHERE workflow_id = %s AND kind <> 'wait'"
_CRON_AGAIN = """
SELECT id, config FROM triggers
WHERE workflow_id = %s AND kind = 'cron' AND NOT enabled AND config ->> 'catch_up' = 'none' FOR UPDATE
"""
_SET_NEXT = "UPDATE triggers SET next_at = %s WHERE id = %s"
_ENABLE = "UPDATE triggers SET enabled = true WHERE workflow_id = %s AND kind <> 'wait'"


@dataclass(frozen=True, slots=True)
class Registered:
    """A trigger as its row tells it."""

    key: str
    kind: str
    config: JsonObject = field(default_factory=dict[str, JsonValue])
    type: str | None = None
    source: str | None = None


async def register(
    conn: AsyncConnection[DictRow],
    organization: str,
    workflow_id: str,
    version: int,
    definition: Definition,
    *,
    enabled: bool = True,
) -> None:
    """Make the triggers of the workflow those of this version, which must be in the table already."""
    there = {row["key"]: row for row in await (await conn.execute(_THERE, [workflow_id])).fetchall()}
    wanted = {trigger.key: trigger for trigger in _wanted(definition)}
    before = {key: row["kind"] for key, row in there.items() if row["kind"] != WAIT}
    gone = [key for key, kind in before.items() if key not in wanted or kind != wanted[key].kind]
    if gone:
        await conn.execute(_DROP, [workflow_id, gone])
    for key, trigger in wanted.items():
        kept = None if key in gone else there.get(key)
        row: dict[str, object] = {
            "id": new_id("trg"),
            "org": organization,
            "workflow": workflow_id,
            "version": version,
            "key": key,
            "kind": trigger.kind,
            "config": to_json(trigger.config).decode(),
            "enabled": enabled or trigger.kind == WAIT,
            "type": trigger.type,
            "source": trigger.source,
            "next_at": _next_at(trigger, kept),
            "target": await _target(conn, organization, trigger),
        }
        await conn.execute(_WRITE, row)
    await conn.execute(_FOLLOW, {"workflow": workflow_id})


async def enable(conn: AsyncConnection[DictRow], workflow_id: str, enabled: bool) -> None:
    """Pause or resume what starts runs. What a schedule missed meanwhile is for its ``catch_up`` to say."""
    if not enabled:
        await conn.execute(_DISABLE, [workflow_id])
        return
    now = datetime.now(UTC)
    for row in await (await conn.execute(_CRON_AGAIN, [workflow_id])).fetchall():
        config = CronTrigger.model_validate(row["config"])
        await conn.execute(_SET_NEXT, [next_time(config.expression, config.timezone, now), row["id"]])
    await conn.execute(_ENABLE, [workflow_id])


def _wanted(definition: Definition) -> Iterator[Registered]:
    for position, trigger in enumerate(definition.triggers):
        yield _registered(trigger.id or str(position), trigger)
    types = dict.fromkeys(node.type for node in _waits([definition]))
    yield from (Registered(f"{WAIT}:{_digest(type_)}", WAIT, type=type_) for type_ in types)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _registered(key: str, trigger: TriggerBase) -> Registered:
    config = cast(JsonObject, trigger.model_dump(mode="json"))
    kind = str(config["kind"])
    if isinstance(trigger, EventTrigger):
        return Registered(key, kind, config, trigger.type, trigger.source)
    return Registered(key, kind, config)


def _waits(values: Iterable[object]) -> Iterator[WaitEventNode]:
    """Every node that waits for an event, wherever it stands: in a loop, as a compensation, in a failure handler."""
    for value in values:
        if isinstance(value, WaitEventNode):
            yield value
        elif isinstance(value, BaseModel):
            yield from _waits(getattr(value, name) for name in type(value).model_fields)
        elif isinstance(value, list | tuple):
            yield from _waits(cast("Iterable[object]", value))


def _next_at(trigger: Registered, kept: DictRow | None) -> datetime | None:
    """Kept while it is the same schedule, so that publishing neither skips nor repeats a time."""
    if trigger.kind != "cron":
        return None
    schedule = _schedule(trigger.config)
    forgets = trigger.config["catch_up"] == "none" and kept is not None and not kept["enabled"]
    if kept is not None and kept["next_at"] is not None and schedule == _schedule(kept["config"]) and not forgets:
        return kept["next_at"]
    return next_time(*schedule, datetime.now(UTC))


def _schedule(config: JsonObject) -> tuple[str, str]:
    return str(config["expression"]), str(config["timezone"])


async def _target(conn: AsyncConnection[DictRow], organization: str, trigger: Registered) -> str | None:
    if trigger.kind != "run_ended":
        return None
    name = RunEndedTrigger.model_validate(trigger.config).workflow
    row = await (await conn.execute(_TARGET, {"org": organization, "name": name})).fetchone()
    return None if row is None else row["id"]
