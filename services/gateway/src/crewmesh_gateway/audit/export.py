"""The log as a file, written while it is read: however long it is, a page of it is in memory."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator
from typing import Literal

from crewmesh_gateway.audit.chain import canonical
from crewmesh_gateway.audit.schemas import AuditEvent

Format = Literal["csv", "json"]
MEDIA_TYPES: dict[Format, str] = {"csv": "text/csv; charset=utf-8", "json": "application/json"}

_COLUMNS = tuple(AuditEvent.model_fields)
# A spreadsheet takes a cell that begins so for a formula, and runs it; full-width forms count too.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


async def as_csv(pages: AsyncIterator[list[AuditEvent]]) -> AsyncIterator[str]:
    yield _rows([_COLUMNS])
    async for page in pages:
        yield _rows([tuple(_cell(value) for value in event.model_dump(mode="json").values()) for event in page])


async def as_json(pages: AsyncIterator[list[AuditEvent]]) -> AsyncIterator[str]:
    """One array, one line each."""
    before = "[\n"
    async for page in pages:
        for event in page:
            yield before + json.dumps(event.model_dump(mode="json"), ensure_ascii=False)
            before = ",\n"
    yield ("[" if before == "[\n" else "") + "\n]\n"


def _rows(rows: list[tuple[str, ...]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else canonical(value)  # pyright: ignore[reportArgumentType]  it is JSON
    return f"'{text}" if text.startswith(_FORMULA) else text
