"""Everything an organization owns here, page by page, in an order that a cursor can take up again.

Rows are given as they are stored. What is kept secret is masked: the export is for reading elsewhere, not for
impersonating anybody.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Container, Sequence
from typing import cast

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.invocations.owned_data import ExportedRow, ExportPage
from psycopg import AsyncConnection, sql
from psycopg.rows import DictRow

from crewmesh_kit.audit import tells_of_a_secret
from crewmesh_kit.db.database import Database
from crewmesh_kit.errors import InvalidRequest
from crewmesh_kit.owned_data.tables import Table, owned_tables
from crewmesh_kit.speakable import MASK

_PAGE_ROWS = 500
# A page ends after this many characters, so that a few large rows do not make a large answer.
_PAGE_CHARACTERS = 1_000_000
_DIGEST = re.compile(r"_sha256$|_hash$")


async def export_page(
    database: Database, organization: str, cursor: str | None, *, without: Container[str] = ()
) -> ExportPage:
    async with database.tenant(organization) as conn:
        tables = sorted(
            (table for table in await owned_tables(conn) if table.name not in without), key=lambda table: table.name
        )
        name, after = _read(cursor)
        for table in tables:
            if name is not None and table.name < name:
                continue
            rows, last = await _rows(conn, table, after if table.name == name else None)
            if rows:
                following = _cursor(table.name, last)
                return ExportPage(rows=tuple(rows), cursor=following)
    return ExportPage(rows=(), cursor=None)


async def _rows(
    conn: AsyncConnection[DictRow], table: Table, after: Sequence[str] | None
) -> tuple[list[ExportedRow], list[str]]:
    key = sql.SQL(", ").join(map(sql.Identifier, table.key))
    behind, parameters = sql.SQL("true"), list[str]()
    if after is not None:
        if len(after) != len(table.key):
            raise _not_ours()
        values = sql.SQL(", ").join(sql.SQL("%s::{}").format(sql.SQL(type_)) for type_ in table.types)  # pyright: ignore[reportArgumentType]  of our own catalogue
        behind, parameters = sql.SQL("({}) > ({})").format(key, values), list(after)
    text = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(column)) for column in table.key)
    query = sql.SQL(
        "SELECT to_jsonb(t) AS row, ARRAY[{text}] AS key FROM {table} t WHERE {behind} ORDER BY {key} LIMIT {limit}"
    ).format(text=text, table=sql.Identifier(table.name), behind=behind, key=key, limit=sql.Literal(_PAGE_ROWS))
    rows, last, size = list[ExportedRow](), list[str](), 0
    async with conn.cursor() as cursor:
        await cursor.execute(query, parameters)
        async for found in cursor:
            row = _without_secrets(cast(JsonObject, found["row"]))
            rows.append(ExportedRow(table=table.name, row=row))
            last = cast("list[str]", found["key"])
            size += len(json.dumps(row))
            if size > _PAGE_CHARACTERS:
                break
    return rows, last


def _without_secrets(row: JsonObject) -> JsonObject:
    return {name: MASK if value is not None and _is_secret(name) else value for name, value in row.items()}


def _is_secret(column: str) -> bool:
    return tells_of_a_secret(column) or _DIGEST.search(column) is not None


def _cursor(table: str, key: Sequence[str]) -> str:
    return base64.urlsafe_b64encode(json.dumps([table, *key]).encode()).decode()


def _read(cursor: str | None) -> tuple[str | None, list[str] | None]:
    if cursor is None:
        return None, None
    try:
        parts = cast(object, json.loads(base64.urlsafe_b64decode(cursor)))
    except ValueError as error:
        raise _not_ours() from error
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in cast("list[object]", parts)):
        raise _not_ours()
    table, *key = cast("list[str]", parts)
    return table, key


def _not_ours() -> InvalidRequest:
    return InvalidRequest("The cursor is not one that a page of this export gave.")
