"""Answering what was spent, on what, by whom."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from crewmesh_kit.app import Resources
from crewmesh_kit.db.database import Database
from crewmesh_kit.errors import InvalidRequest
from crewmesh_kit.http.pagination import Page, PageRequest
from crewmesh_kit.identity import Identity
from crewmesh_kit.sharing.service import Sharing
from psycopg.rows import DictRow

from crewmesh_agent_crew.spending.dollars import dollars_of
from crewmesh_agent_crew.spending.hidden import hidden_from
from crewmesh_agent_crew.usage.models import By, Question, Span
from crewmesh_agent_crew.usage.repository import STEPS, UsageRepository
from crewmesh_agent_crew.usage.schemas import Latency, Sums, Usage, UsageCall, UsageRow

_PAGE = 1_000


class UsageService:
    def __init__(self, database: Database, sharing: Sharing) -> None:
        self._database = database
        self._sharing = sharing

    async def sums(self, identity: Identity, question: Question) -> Usage:
        async with self._told(identity) as usage:
            whole, *groups = await usage.sums(question)
        return Usage(
            start=question.span.start,
            end=question.span.end,
            bucket=question.bucket,
            by=question.by,
            total=Sums.model_validate(_sums(whole)),
            items=tuple(
                UsageRow.model_validate(
                    {"at": row["bucket"], "names": {by: row[by] for by in question.by}, **_sums(row)}
                )
                for row in groups[: question.limit]
            ),
            truncated=len(groups) > question.limit,
        )

    async def page(
        self, identity: Identity, span: Span, where: Mapping[By, str], wanted: PageRequest
    ) -> Page[UsageCall]:
        behind = _behind(wanted)
        async with self._told(identity) as usage:
            rows = await usage.calls(span, where, behind, wanted.limit + 1)
        return wanted.page([_call(row) for row in rows], lambda call: (call.at.isoformat(), call.id))

    async def all(self, identity: Identity, span: Span, where: Mapping[By, str]) -> AsyncIterator[list[UsageCall]]:
        """Page by page, each in a short transaction of its own: a slow reader holds nothing."""
        behind: tuple[datetime, str] | None = None
        while True:
            async with self._told(identity) as usage:
                rows = await usage.calls(span, where, behind, _PAGE)
            if not rows:
                return
            yield [_call(row) for row in rows]
            behind = (rows[-1]["at"], rows[-1]["id"])

    @asynccontextmanager
    async def _told(self, identity: Identity) -> AsyncGenerator[UsageRepository]:
        """As far as it is told to ``identity``."""
        async with self._database.tenant(identity.organization) as conn:
            hidden = await hidden_from(conn, self._sharing, identity)
            yield UsageRepository(conn, identity.organization, hidden)


def _behind(wanted: PageRequest) -> tuple[datetime, str] | None:
    key = wanted.after(str, str)
    if key is None:
        return None
    try:
        return datetime.fromisoformat(str(key[0])), str(key[1])
    except ValueError as error:
        raise InvalidRequest(
            "The cursor is not one that this list gave out. Leave it away to start from the beginning."
        ) from error


def _sums(row: DictRow) -> dict[str, object]:
    return {
        "calls": row["calls"],
        "input_tokens": row["input"],
        "cached_tokens": row["cached"],
        "output_tokens": row["output"],
        "cost": dollars_of(row["cost"]),
        "latency": _latency(row["speeds"] or (), row["of_speed"] or ()),
    }


def _latency(speeds: Sequence[int | None], calls: Sequence[int]) -> Latency | None:
    answered = sorted((speed, n) for speed, n in zip(speeds, calls, strict=True) if speed is not None)
    if not answered:
        return None
    return Latency(p50=_percentile(answered, 0.5), p95=_percentile(answered, 0.95))


def _percentile(answered: Sequence[tuple[int, int]], share: float) -> int:
    wanted = math.ceil(share * sum(n for _, n in answered))
    seen = 0
    for speed, n in answered:
        seen += n
        if seen >= wanted:
            return round(math.exp(speed / STEPS) - 1)
    raise AssertionError("a share of all is among all")


def _call(row: DictRow) -> UsageCall:
    return UsageCall.model_validate(
        {
            **row,
            "input_tokens": row["input"],
            "cached_tokens": row["cached"],
            "output_tokens": row["output"],
            "cost": dollars_of(row["cost_nano"]),
            "reserved": dollars_of(row["reserved_nano"]),
            "user": row["user_id"],
            # Under "key" the ledger keeps under what it was asked; here it is whose key asked.
            "key": row["key_id"],
        }
    )


@asynccontextmanager
async def open_usage(resources: Resources) -> AsyncGenerator[UsageService]:
    yield UsageService(resources.get(Database), resources.get(Sharing))
