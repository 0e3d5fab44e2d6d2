"""What a request asks of usage, out of its query."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, cast

from crewmesh_kit.errors import InvalidRequest
from fastapi import Depends, Header, Query
from pydantic import AwareDatetime

from crewmesh_agent_crew.usage.models import MOST_DAYS, MOST_DAYS_BY_HOUR, MOST_GROUPS, Bucket, By, Question, Span

_USUAL = timedelta(days=30)
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_Name = Annotated[str | None, Query(min_length=1, max_length=1_000, pattern=r"^[^\x00]+$")]


async def _span(
    start: Annotated[
        AwareDatetime | None, Query(alias="from", description="30 days before the end if left out.")
    ] = None,
    end: Annotated[AwareDatetime | None, Query(alias="to", description="Not included. Now, if left out.")] = None,
) -> Span:
    until = end or datetime.now(UTC)
    since = start or max(until, _EARLIEST) - _USUAL
    if since >= until:
        raise InvalidRequest("The parameter from must be earlier than to.")
    if until - since > timedelta(days=MOST_DAYS):
        raise InvalidRequest(f"From and to are more than {MOST_DAYS} days apart; ask for one part after the other.")
    return Span(since, until)


async def _where(
    provider: _Name = None,
    model: _Name = None,
    workflow: _Name = None,
    run: _Name = None,
    step: _Name = None,
    crew_run: _Name = None,
    crew: _Name = None,
    agent: _Name = None,
    conversation: _Name = None,
    user: _Name = None,
    key: _Name = None,
    team: _Name = None,
    outcome: _Name = None,
) -> dict[By, str]:
    named = dict(locals())
    return {cast(By, name): value for name, value in named.items() if value is not None}


SpanQuery = Annotated[Span, Depends(_span)]
WhereQuery = Annotated[dict[By, str], Depends(_where)]


async def _question(
    span: SpanQuery,
    where: WhereQuery,
    bucket: Annotated[Bucket | None, Query(description="A series: one row per hour, day or month, in UTC.")] = None,
    by: Annotated[
        list[By] | None, Query(max_length=2, description="A breakdown by one or two of these; repeat the parameter.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=MOST_GROUPS, description="Most rows.")] = 1_000,
) -> Question:
    names = tuple(dict.fromkeys(by or ()))
    if bucket == "hour" and span.end - span.start > timedelta(days=MOST_DAYS_BY_HOUR):
        raise InvalidRequest(f"By the hour, from and to are at most {MOST_DAYS_BY_HOUR} days apart.")
    return Question(span, bucket, names, where, limit)


QuestionQuery = Annotated[Question, Depends(_question)]


async def _wants_csv(
    format_: Annotated[
        Literal["json", "csv"] | None, Query(alias="format", description="As a file; or send Accept: text/csv.")
    ] = None,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> bool:
    return format_ == "csv" or (format_ is None and accept.split(";")[0].strip().lower() == "text/csv")


WantsCsv = Annotated[bool, Depends(_wants_csv)]
