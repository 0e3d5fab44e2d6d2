"""HTTP of links to decisions: open to everybody who has one, for machines as JSON and for people as a page.

Reading decides nothing: mail programs and chats look at every link they carry.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeAlias, cast

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.app import provided
from crewmesh_kit.errors import Problem, UnsupportedMediaType
from crewmesh_kit.http.problems import place_of
from crewmesh_kit.http.queries import any_query
from crewmesh_kit.identity import public
from crewmesh_kit.misshapen import ShapeError, sentence
from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import JSONResponse
from pydantic import ValidationError

from crewmesh_workflow.approvals.errors import WrongDecision
from crewmesh_workflow.approvals.links import PATH, Links
from crewmesh_workflow.approvals.pages import done_page, question_page, told_page
from crewmesh_workflow.approvals.posted import FORM_TYPE, posted_decision, posted_fields
from crewmesh_workflow.approvals.schemas import Approval, ApprovalDecision

# Mail programs add to the addresses of links what they like.
router = APIRouter(prefix=PATH, tags=["approvals"], dependencies=[public(), any_query()])

Token = Annotated[str, Path(description="What the link ends with.")]
TheLinks = Annotated[Links, provided(Links)]

_Responses: TypeAlias = dict[int | str, dict[str, object]]
_AS_PAGE: _Responses = {
    200: {"content": {"text/html": JsonObject()}, "description": "As JSON, or as a page for people who accept HTML."}
}
_BODY: JsonObject = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/ApprovalDecision"}},
            FORM_TYPE: {"schema": {"type": "object"}},
        },
    }
}
# Whoever has the link may read this, and nobody else may keep it.
_PRIVATE = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}


@router.get("/{token}", response_model=Approval, responses=_AS_PAGE)
async def look_at_approval(token: Token, request: Request, links: TheLinks) -> Response:
    """Look at what is to be decided. This decides nothing."""
    try:
        found = await links.look(token)
    except Problem as problem:
        if not _wants_page(request):
            raise
        return told_page(problem.title, problem.detail, status=problem.status)
    return question_page(found) if _wants_page(request) else _json(found)


@router.post(
    "/{token}",
    response_model=Approval,
    responses=_AS_PAGE,
    openapi_extra=_BODY,
)
async def decide_by_link(token: Token, request: Request, links: TheLinks) -> Response:
    """Decide, once. The body is a decision as JSON, or the fields of the page."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await request.body()
    if media_type == FORM_TYPE:
        return await _decide_by_page(links, token, body, as_page=_wants_page(request))
    if media_type != "application/json":
        raise UnsupportedMediaType(f"Send the decision as application/json, or as {FORM_TYPE}.")
    return _json(await links.decide(token, _decision(body)))


async def _decide_by_page(links: Links, token: str, body: bytes, *, as_page: bool) -> Response:
    posted = posted_fields(body)
    try:
        found = await links.look_again(token)
        try:
            decided = await links.decide(token, posted_decision(found, posted))
        except WrongDecision as problem:
            if not as_page:
                raise
            return question_page(found, status=problem.status, mistakes=_mistakes(problem), posted=posted)
    except Problem as problem:
        if not as_page:
            raise
        return told_page(problem.title, problem.detail, status=problem.status)
    return done_page(decided) if as_page else _json(decided)


def _decision(body: bytes) -> ApprovalDecision:
    try:
        return ApprovalDecision.model_validate_json(body)
    except ValidationError as error:
        wrong = cast("Sequence[ShapeError]", error.errors())
        raise WrongDecision((place_of(each["loc"]) or "body", sentence(each)) for each in wrong) from error


def _mistakes(problem: WrongDecision) -> list[tuple[str, str]]:
    errors = cast("list[dict[str, str]]", problem.extensions["errors"])
    return [(error["path"], error["message"]) for error in errors]


def _wants_page(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "").lower()


def _json(approval: Approval) -> Response:
    return JSONResponse(approval.model_dump(mode="json"), headers=_PRIVATE)
