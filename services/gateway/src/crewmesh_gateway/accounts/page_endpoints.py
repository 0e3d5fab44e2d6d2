"""HTTP of the pages that mailed links open."""

from __future__ import annotations

from typing import Annotated

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.app import provided
from crewmesh_kit.errors import PROBLEM_MEDIA_TYPE
from crewmesh_kit.http.queries import any_query
from crewmesh_kit.identity import public
from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from crewmesh_gateway.accounts import pages
from crewmesh_gateway.accounts.errors import AddressTaken, LinkExpired, NotWhoSignedUp
from crewmesh_gateway.accounts.password_rules import PasswordRefused
from crewmesh_gateway.accounts.recovery import Recovery
from crewmesh_gateway.accounts.schemas import ResetRequest, VerifyRequest
from crewmesh_gateway.accounts.signup import Signup
from crewmesh_gateway.sessions.cookies import give
from crewmesh_gateway.sessions.origins import CameFrom, from_our_pages

# A page where the form was understood; a problem where it was not.
_PAGE_OR_PROBLEM: dict[str, object] = {"content": {"text/html": {}, PROBLEM_MEDIA_TYPE: {}}}
_REFUSALS: dict[int | str, dict[str, object]] = {
    400: {"description": "The link does not work any more.", **_PAGE_OR_PROBLEM},
    403: {"description": "The password is not the one that was chosen when signing up.", **_PAGE_OR_PROBLEM},
    409: {"description": "Somebody else has this address by now.", **_PAGE_OR_PROBLEM},
    422: {"description": "The password is refused.", **_PAGE_OR_PROBLEM},
}

router = APIRouter(
    prefix="/v1/auth/pages",
    tags=["auth"],
    default_response_class=HTMLResponse,
    responses=_REFUSALS,
    dependencies=[any_query()],  # mail programs add to the addresses of links what they like
)

TheSignup = Annotated[Signup, provided(Signup)]
TheRecovery = Annotated[Recovery, provided(Recovery)]
LinkToken = Annotated[str, Query(min_length=1, max_length=200, description="What the link in the mail ends with.")]


def _form_of(*names: str) -> JsonObject:
    schema: JsonObject = {
        "type": "object",
        "required": list(names),
        "properties": {name: {"type": "string"} for name in names},
    }
    return {"requestBody": {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": schema}}}}


@router.get("/verify-email", summary="The page that proves an address", dependencies=[public()])
async def show_verify_page(token: LinkToken) -> HTMLResponse:
    return pages.verify_page(token)


@router.post(
    "/verify-email",
    summary="What the form of that page sends",
    dependencies=[public(), from_our_pages()],
    openapi_extra=_form_of("token", "password"),
)
async def send_verify_page(request: Request, origin: CameFrom, signup: TheSignup) -> HTMLResponse:
    body = await pages.posted(request, VerifyRequest)
    try:
        begun = await signup.verify(body.token, body.password, origin)
    except NotWhoSignedUp as problem:
        return pages.verify_page(body.token, mistake=problem.detail, status=problem.status)
    except (LinkExpired, AddressTaken) as problem:
        return pages.told_page("This link does not work any more", problem.detail, status=problem.status)
    page = pages.told_page("Your address is verified", "Your account is ready, and you are logged in.")
    give(page, begun)
    return page


@router.get("/password-reset", summary="The page that sets a new password", dependencies=[public()])
async def show_reset_page(token: LinkToken) -> HTMLResponse:
    return pages.reset_page(token)


@router.post(
    "/password-reset",
    summary="What the form of that page sends",
    dependencies=[public(), from_our_pages()],
    openapi_extra=_form_of("token", "password"),
)
async def send_reset_page(request: Request, origin: CameFrom, recovery: TheRecovery) -> HTMLResponse:
    body = await pages.posted(request, ResetRequest)
    try:
        await recovery.reset(body.token, body.password, origin)
    except PasswordRefused as problem:
        return pages.reset_page(body.token, mistake=problem.detail, status=problem.status)
    except LinkExpired as problem:
        return pages.told_page("This link does not work any more", problem.detail, status=problem.status)
    return pages.told_page("Your password is changed", "Log in with it. Every other login of yours has ended.")
