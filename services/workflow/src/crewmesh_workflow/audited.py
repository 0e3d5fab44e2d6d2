"""What the audit log is told of a change to a workflow: which parts, by their names, and nothing of what they say.

A definition stands for itself by its hash: the same hash is the same content, whatever default was spelled out.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterable

from crewmesh_contracts.base import JsonObject
from crewmesh_kit import audit
from crewmesh_kit.identity import Identity
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_workflow.definitions.diff import Diff, diff
from crewmesh_workflow.definitions.normal import normal

# Of each kind of part; the rest is told by its number.
_MOST_NAMED = 50
_NOTHING: JsonObject = {}


async def definition_changed(
    conn: AsyncConnection[DictRow],
    identity: Identity,
    action: str,
    workflow: str,
    *,
    content: tuple[JsonObject | None, JsonObject],
    before: JsonObject | None,
    after: JsonObject,
) -> None:
    """``content``: the definition as it was, or none, and as it is; ``before`` and ``after``: what stands beside it."""
    was, now = content
    hash_before, hash_after, changes = await asyncio.to_thread(_compared, was, now)
    await audit.record(
        conn,
        identity,
        action,
        workflow,
        before=None if was is None else {**(before or _NOTHING), "hash": hash_before},
        after={**after, "hash": hash_after, "changes": changes},
    )


def _compared(was: JsonObject | None, now: JsonObject) -> tuple[str | None, str, JsonObject]:
    return None if was is None else _hash(was), _hash(now), _parts(diff(was or _NOTHING, now))


def _hash(definition: JsonObject) -> str:
    text = json.dumps(normal(definition), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _parts(found: Diff) -> JsonObject:
    """The parts that differ, by name; kinds of parts in which nothing differs are left out."""
    told: dict[str, JsonObject] = {
        "nodes": _named(
            added=(node.path for node in found.nodes.added),
            removed=(node.path for node in found.nodes.removed),
            changed=(node.path for node in found.nodes.changed),
        ),
        "triggers": _named(
            added=found.triggers.added,
            removed=found.triggers.removed,
            changed=(trigger.path.removeprefix("triggers.") for trigger in found.triggers.changed),
        ),
        "edges": _counted(added=len(found.edges.added), removed=len(found.edges.removed)),
        "settings": _named(changed=(change.path for change in found.settings)),
        "other": _named(changed=(change.path for change in found.other)),
        "layout": {"changed": True} if found.layout else {},
    }
    return {part: names for part, names in told.items() if names}


def _named(**kinds: Iterable[str]) -> JsonObject:
    told: JsonObject = {}
    for kind, names in kinds.items():
        every = [*names]
        if every:
            told[kind] = [
                *every[:_MOST_NAMED],
                *([f"and {len(every) - _MOST_NAMED} more"] * (len(every) > _MOST_NAMED)),
            ]
    return told


def _counted(**kinds: int) -> JsonObject:
    return {kind: number for kind, number in kinds.items() if number}
