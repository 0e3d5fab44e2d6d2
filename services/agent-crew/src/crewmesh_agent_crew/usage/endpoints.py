"""``/v1/usage``: what models were asked, and what it cost."""

from __future__ import annotations

from typing import Annotated, Any

from crewmesh_kit.app import provided
from crewmesh_kit.http.pagination import Page, PageQuery
from crewmesh_kit.identity import Identity, requires
from fastapi import APIRouter, Response
from fastapi.responses import StreamingResponse

from crewmesh_agent_crew.usage.as_csv import MEDIA_TYPE, calls_as_csv, sums_as_csv
from crewmesh_agent_crew.usage.questions import QuestionQuery, SpanQuery, WantsCsv, WhereQuery
from crewmesh_agent_crew.usage.schemas import Usage, UsageCall
from crewmesh_agent_crew.usage.service import UsageService

router = APIRouter(prefix="/v1/usage", tags=["usage"])

Reader = Annotated[Identity, requires("usage:read")]
TheUsage = Annotated[UsageService, provided(UsageService)]
_OR_CSV: dict[int | str, dict[str, Any]] = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}}


@router.get("", summary="Sum up what models were asked, and what it cost", response_model=Usage, responses=_OR_CSV)
async def sum_up_usage(question: QuestionQuery, csv: WantsCsv, identity: Reader, usage: TheUsage) -> Usage | Response:
    """The total, a series with `bucket`, a breakdown with `by`, or both together. Workflows, runs, people and keys are
    told by their ids; crews and agents that are restricted, and not shared with whoever asks, by no name."""
    found = await usage.sums(identity, question)
    if csv:
        return Response(sums_as_csv(found), media_type=MEDIA_TYPE, headers=_file("usage"))
    return found


@router.get(
    "/calls", summary="List single calls of models, the latest first", response_model=Page[UsageCall], responses=_OR_CSV
)
async def list_usage_calls(
    span: SpanQuery, where: WhereQuery, csv: WantsCsv, identity: Reader, usage: TheUsage, page: PageQuery
) -> Page[UsageCall] | Response:
    """As a file it is all of them, however many, and `limit` and `cursor` mean nothing."""
    if csv:
        pages = usage.all(identity, span, where)
        return StreamingResponse(calls_as_csv(pages), media_type=MEDIA_TYPE, headers=_file("usage-calls"))
    return await usage.page(identity, span, where, page)


def _file(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}.csv"', "Cache-Control": "no-store"}
