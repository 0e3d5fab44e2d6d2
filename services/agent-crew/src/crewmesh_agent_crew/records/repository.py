"""SQL of records. The present version stands in the table itself, those before it in the table of its history.

What is archived gives its name back and goes by its id. Every statement names the organization, and row-level security
holds besides.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Literal, LiteralString

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.ids import new_id
from crewmesh_kit.sharing.rules import Reach
from psycopg import AsyncConnection, errors, sql
from psycopg.rows import DictRow, class_row
from psycopg.types.json import Jsonb

from crewmesh_agent_crew.records.models import Definition, DefinitionT
from crewmesh_agent_crew.records.shelf import Shelf

_COLUMNS = sql.SQL("id, name, version, definition, message, changed_by, created_at, changed_at, archived_at")
_ADD = """
INSERT INTO {table} (org_id, id, name, definition, changed_by)
VALUES (%(org)s, %(id)s, %(name)s, %(definition)s, %(by)s)
ON CONFLICT (org_id, name) DO NOTHING RETURNING {columns}
"""
_FIND = """
SELECT {columns} FROM {table} WHERE org_id = %(org)s AND (name = %(ref)s OR id = %(ref)s)
ORDER BY id = %(ref)s DESC LIMIT 1
"""
_NAMED = """
SELECT {columns} FROM {table} WHERE org_id = %(org)s AND name = ANY(%(names)s) AND archived_at IS NULL ORDER BY name
"""
_HOLDING = """
SELECT {columns} FROM {table} WHERE org_id = %(org)s AND archived_at IS NULL AND definition @> %(part)s
ORDER BY name LIMIT %(most)s
"""
_PAGE = """
SELECT {columns} FROM {table}
WHERE org_id = %(org)s AND name > %(after)s AND (archived_at IS NOT NULL) = %(archived)s
  AND (%(only)s::text[] IS NULL OR id = ANY(%(only)s)) AND id <> ALL(%(but)s::text[])
  AND starts_with(name, %(prefix)s)
  AND (%(tag)s::text IS NULL OR definition->'tags' ? %(tag)s)
  AND (%(process)s::text IS NULL OR definition->>'process' = %(process)s)
  AND (%(skill)s::text IS NULL OR EXISTS (
      SELECT FROM jsonb_array_elements(coalesce(definition->'agents', jsonb_build_array(definition))) AS agent
      WHERE agent->'skills' ? %(skill)s OR agent->>'preset' = ANY(%(presets)s)))
ORDER BY name LIMIT %(limit)s
"""
_REPLACE = """
WITH kept AS (
    INSERT INTO {history} (org_id, record_id, version, definition, message, changed_by, changed_at)
    SELECT org_id, id, version, definition, message, changed_by, changed_at FROM {table}
    WHERE org_id = %(org)s AND id = %(id)s
)
UPDATE {table} SET version = version + 1, definition = %(definition)s, message = %(message)s, changed_by = %(by)s,
    changed_at = now()
WHERE org_id = %(org)s AND id = %(id)s RETURNING {columns}
"""
_ARCHIVE = (
    "UPDATE {table} SET name = id, archived_at = now() WHERE org_id = %(org)s AND id = %(id)s RETURNING {columns}"
)
_RESTORE = """
UPDATE {table} SET name = definition->>'name', archived_at = NULL
WHERE org_id = %(org)s AND id = %(id)s RETURNING {columns}
"""
_VERSIONS = """
SELECT version, definition, message, changed_by, changed_at FROM (
    SELECT version, definition, message, changed_by, changed_at FROM {table} WHERE org_id = %(org)s AND id = %(id)s
    UNION ALL
    SELECT version, definition, message, changed_by, changed_at FROM {history}
    WHERE org_id = %(org)s AND record_id = %(id)s
) AS every
WHERE (%(before)s::integer IS NULL OR version < %(before)s) AND (%(only)s::integer IS NULL OR version = %(only)s)
ORDER BY version DESC LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """A record as it is kept. ``name`` is its id when it is archived."""

    id: str
    name: str
    version: int
    definition: JsonObject
    message: str
    changed_by: str
    created_at: datetime
    changed_at: datetime
    archived_at: datetime | None

    def listed(self) -> dict[str, object]:
        """What a list shows of every record beside its definition."""
        return {
            "id": self.id,
            "name": self.name,
            "version": self.version,
            "created_at": self.created_at,
            "updated_at": self.changed_at,
            "archived_at": self.archived_at,
        }


@dataclass(frozen=True, slots=True)
class StoredVersion:
    version: int
    definition: JsonObject
    message: str
    changed_by: str
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Filters:
    """``presets``: those that have the skill without saying so in the definition."""

    prefix: str = ""
    tag: str | None = None
    skill: str | None = None
    process: str | None = None
    archived: bool = False
    presets: tuple[str, ...] = ()


class RecordRepository(Generic[DefinitionT]):
    def __init__(self, connection: AsyncConnection[DictRow], organization: str, shelf: Shelf[DefinitionT]) -> None:
        self._connection = connection
        self._organization = organization
        self._shelf = shelf

    async def add(self, definition: DefinitionT, *, by: str) -> Stored | None:
        """The new record; none when the name is taken."""
        content = {"name": definition.name, "definition": _json(definition), "by": by}
        return await self._one(_ADD, id=new_id(self._shelf.prefix), **content)

    async def find(self, ref: str, *, lock: bool = False) -> Stored | None:
        """By name or id; archived ones by their id alone."""
        return await self._one(_FIND + ("FOR UPDATE" if lock else ""), ref=ref)

    async def id_of(self, ref: str) -> str:
        """For who manages access, and need not see it."""
        stored = await self.find(ref)
        if stored is None:
            raise self._shelf.unknown(ref)
        return stored.id

    async def named(self, names: Collection[str], *, lock: Literal["", "FOR SHARE", "FOR UPDATE"] = "") -> list[Stored]:
        """Those that are not archived; by a lock they stay as they are until the transaction ends."""
        return await self._all(_NAMED + lock, names=sorted(names)) if names else []

    async def holding(self, part: JsonObject, *, most: int) -> list[Stored]:
        """Those whose definition has this in it."""
        return await self._all(_HOLDING, part=Jsonb(part), most=most)

    async def page(self, filters: Filters, reach: Reach, after: str | None, limit: int) -> list[Stored]:
        """By name."""
        wanted = {
            "prefix": filters.prefix,
            "tag": filters.tag,
            "skill": filters.skill,
            "process": filters.process,
            "archived": filters.archived,
            "presets": [*filters.presets],
        }
        return await self._all(_PAGE, after=after or "", limit=limit, **wanted, **reach.parameters)

    async def replace(self, id_: str, definition: DefinitionT, *, by: str, message: str) -> Stored:
        """A new version; the present one becomes history. The record is held by a lock."""
        return await self._there(_REPLACE, id=id_, definition=_json(definition), by=by, message=message)

    async def archive(self, id_: str) -> Stored:
        return await self._there(_ARCHIVE, id=id_)

    async def restore(self, id_: str) -> Stored | None:
        """None when somebody else has the name by now."""
        try:
            async with self._connection.transaction():
                return await self._there(_RESTORE, id=id_)
        except errors.UniqueViolation:
            return None

    async def versions(self, id_: str, before: int | None, limit: int) -> list[StoredVersion]:
        """The newest first."""
        return await self._versions(id=id_, before=before, only=None, limit=limit)

    async def version(self, id_: str, version: int) -> StoredVersion | None:
        found = await self._versions(id=id_, before=None, only=version, limit=1)
        return found[0] if found else None

    async def _versions(self, **parameters: object) -> list[StoredVersion]:
        async with self._connection.cursor(row_factory=class_row(StoredVersion)) as cursor:
            await cursor.execute(self._query(_VERSIONS), {"org": self._organization, **parameters})
            return await cursor.fetchall()

    async def _all(self, query: LiteralString, **parameters: object) -> list[Stored]:
        async with self._connection.cursor(row_factory=class_row(Stored)) as cursor:
            await cursor.execute(self._query(query), {"org": self._organization, **parameters})
            return await cursor.fetchall()

    async def _one(self, query: LiteralString, **parameters: object) -> Stored | None:
        found = await self._all(query, **parameters)
        return found[0] if found else None

    async def _there(self, query: LiteralString, **parameters: object) -> Stored:
        found = await self._one(query, **parameters)
        if found is None:
            raise LookupError("a record that is held by a lock is there")
        return found

    def _query(self, query: LiteralString) -> sql.Composed:
        return sql.SQL(query).format(
            table=sql.Identifier(self._shelf.table), history=sql.Identifier(self._shelf.history), columns=_COLUMNS
        )


def _json(definition: Definition) -> Jsonb:
    return Jsonb(definition.model_dump(mode="json"))
