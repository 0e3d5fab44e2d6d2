"""Usage as a file for spreadsheets, written while it is read."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Iterable

from crewmesh_agent_crew.usage.schemas import Sums, Usage, UsageCall

MEDIA_TYPE = "text/csv; charset=utf-8"
# A spreadsheet takes a cell that begins so for a formula, and runs it; full-width forms count too.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_SUMS = ("calls", "input_tokens", "cached_tokens", "output_tokens", "cost")
_CALL = tuple(UsageCall.model_fields)


def sums_as_csv(usage: Usage) -> str:
    """Without the total: a spreadsheet sums up by itself."""
    times = () if usage.bucket is None else ("at",)
    rows = [
        [*([row.at] if times else []), *(row.names[by] for by in usage.by), *_cells_of(row)] for row in usage.items
    ] or ([] if usage.by or times else [_cells_of(usage.total)])
    return _lines([[*times, *usage.by, *_SUMS, "latency_p50_ms", "latency_p95_ms"], *rows])


async def calls_as_csv(pages: AsyncIterator[list[UsageCall]]) -> AsyncIterator[str]:
    yield _lines([_CALL])
    async for page in pages:
        yield _lines([call.model_dump(mode="json").values() for call in page])


def _cells_of(sums: Sums) -> list[object]:
    told = sums.model_dump(mode="json", include=set(_SUMS))
    latency = sums.latency
    return [*(told[name] for name in _SUMS), *((None, None) if latency is None else (latency.p50, latency.p95))]


def _lines(rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = json.dumps(value) if isinstance(value, list | tuple) else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text
