"""``/v1/auth/refresh``, ``logout``, ``logout-all`` and ``organization``: a login goes on, ends, changes its place."""

from __future__ import annotations

import hmac
from typing import Annotated

from crewmesh_kit.app import provided
from crewmesh_kit.http.problems import ProblemResponse
from crewmesh_kit.identity import public
from fastapi import APIRouter, Cookie, Depends, Header, Request, Response

from crewmesh_gateway.principals.access import Person
from crewmesh_gateway.sessions import cookies
from crewmesh_gateway.sessions.errors import CsrfTokenWrong, SessionEnded
from crewmesh_gateway.sessions.origins import CameFrom, from_our_pages
from crewmesh_gateway.sessions.refresh_tokens import RefreshToken, RefreshTokens
from crewmesh_gateway.sessions.schemas import LoggedOut, LogoutAll, SwitchOrganization, TokenView, shown
from crewmesh_gateway.sessions.service import Sessions

router = APIRouter(prefix="/v1/auth", tags=["auth"])
_Sessions = Annotated[Sessions, provided(Sessions)]


async def _cookie_login(
    tokens: Annotated[RefreshTokens, provided(RefreshTokens)],
    cookie: Annotated[str, Cookie(alias=cookies.REFRESH_COOKIE, description="Given by logging in.")] = "",
    csrf: Annotated[str, Header(alias="X-CSRF-Token", description="The csrf_token of the login.")] = "",
) -> RefreshToken | None:
    """The refresh token of the cookie, when the page that sent it could read the login's CSRF token too."""
    token = tokens.read(cookie)
    if token is not None and not hmac.compare_digest(csrf.encode(), tokens.csrf_of(token.session).encode()):
        raise CsrfTokenWrong
    return token


_CookieLogin = Annotated[RefreshToken | None, Depends(_cookie_login)]


@router.post(
    "/refresh",
    summary="The next access token of a login, by its cookie and the header X-CSRF-Token",
    dependencies=[public(), from_our_pages()],
    response_model=TokenView,
)
async def refresh(
    request: Request, response: Response, token: _CookieLogin, origin: CameFrom, sessions: _Sessions
) -> TokenView | Response:
    try:
        if token is None:
            raise SessionEnded
        begun = await sessions.refresh(token, origin)
    except SessionEnded as ended:
        refusal = ProblemResponse(ended, path=request.url.path)
        cookies.take_back(refusal)
        return refusal
    cookies.give(response, begun)
    return shown(begun)


@router.post(
    "/logout",
    status_code=204,
    summary="End the login of the cookie; needs the header X-CSRF-Token while there is one",
    dependencies=[public(), from_our_pages()],
)
async def logout(response: Response, token: _CookieLogin, origin: CameFrom, sessions: _Sessions) -> None:
    _ = origin  # noted for the audit log
    if token is not None:
        await sessions.log_out(token)
    cookies.take_back(response)


@router.post("/logout-all", summary="End every login of yours, or every other")
async def logout_all(
    principal: Person, response: Response, sessions: _Sessions, asked: LogoutAll | None = None
) -> LoggedOut:
    keep_current = asked is not None and asked.keep_current
    ended = await sessions.log_out_everywhere(principal, keep_current=keep_current)
    if not keep_current:
        cookies.take_back(response)
    return LoggedOut(ended=ended)


@router.post("/organization", summary="Work in another of your organizations: an access token for it")
async def switch_organization(
    principal: Person, asked: SwitchOrganization, response: Response, sessions: _Sessions
) -> TokenView:
    cookies.keep_private(response)
    return await sessions.switch(principal, asked.organization)
