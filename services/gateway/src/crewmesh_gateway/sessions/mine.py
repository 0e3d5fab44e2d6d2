"""``/v1/me/sessions``: where somebody is logged in, and ending what they do not know."""

from __future__ import annotations

from typing import Annotated

from crewmesh_kit.app import provided
from crewmesh_kit.http.pagination import Page, PageQuery
from fastapi import APIRouter

from crewmesh_gateway.ids import IdText
from crewmesh_gateway.principals.access import Person
from crewmesh_gateway.sessions.schemas import SessionView
from crewmesh_gateway.sessions.service import Sessions

router = APIRouter(prefix="/v1/me/sessions", tags=["me"])
_Sessions = Annotated[Sessions, provided(Sessions)]


@router.get("", summary="Your logins that still hold, the newest first")
async def list_sessions(principal: Person, page: PageQuery, sessions: _Sessions) -> Page[SessionView]:
    after = page.after_text()
    found = await sessions.of(principal, after=after, most=page.limit + 1)
    return page.page(found, lambda session: (session.id,))


@router.delete("/{session}", status_code=204, summary="End one of your logins, at once")
async def end_session(principal: Person, session: IdText, sessions: _Sessions) -> None:
    await sessions.revoke(principal, session)
