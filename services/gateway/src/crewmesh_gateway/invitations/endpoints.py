"""HTTP of invitations: those who send them, and those who got one."""

from __future__ import annotations

from typing import Annotated

from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import IdempotencyKey
from crewmesh_kit.http.pagination import Page, PageQuery
from crewmesh_kit.http.queries import any_query
from crewmesh_kit.identity import public
from fastapi import APIRouter, Query, Response
from fastapi.responses import HTMLResponse

from crewmesh_gateway.ids import IdText
from crewmesh_gateway.invitations.accepting import Accepting
from crewmesh_gateway.invitations.errors import UnknownInvitation
from crewmesh_gateway.invitations.guesses import Guessing
from crewmesh_gateway.invitations.page import invitation_page, unknown_page
from crewmesh_gateway.invitations.schemas import (
    Invitation,
    InvitationShown,
    InvitationStatus,
    InvitationToken,
    Joined,
    NewInvitation,
)
from crewmesh_gateway.invitations.service import Invitations
from crewmesh_gateway.principals.access import Person, needs
from crewmesh_gateway.principals.models import Principal
from crewmesh_gateway.sessions.origins import CameFrom

router = APIRouter(prefix="/v1/invitations", tags=["invitations"])

Reader = Annotated[Principal, needs("members:read")]
Writer = Annotated[Principal, needs("members:write")]
TheInvitations = Annotated[Invitations, provided(Invitations)]
TheAccepting = Annotated[Accepting, provided(Accepting)]
TheGuessing = Annotated[Guessing, provided(Guessing)]


@router.post("", status_code=201)
async def create_invitation(
    new: NewInvitation,
    principal: Writer,
    invitations: TheInvitations,
    response: Response,
    key: IdempotencyKey = None,
) -> Invitation:
    """Invite somebody by mail. The role may not hold more than one's own."""
    created = await invitations.invite(principal, new, key=key)
    response.headers["Location"] = f"/v1/invitations/{created.id}"
    return created


@router.get("")
async def list_invitations(
    principal: Reader,
    invitations: TheInvitations,
    page: PageQuery,
    status: Annotated[InvitationStatus | None, Query(description="Only those of this status.")] = None,
) -> Page[Invitation]:
    """List invitations, the newest first."""
    return await invitations.page(principal, status, page)


@router.post("/look-up", dependencies=[public()])
async def look_up_invitation(
    asked: InvitationToken, origin: CameFrom, accepting: TheAccepting, guessing: TheGuessing
) -> InvitationShown:
    """Show an invitation to whoever holds its link, before they log in."""
    with guessing.by(origin.address or "unknown"):
        return await accepting.look_up(asked.token)


@router.get(
    "/accept",
    dependencies=[public(), any_query()],  # mail programs add to the addresses of links what they like
    response_class=HTMLResponse,
    responses={404: {"description": "There is no such invitation.", "content": {"text/html": {}}}},
)
async def show_invitation_page(
    token: Annotated[str, Query(min_length=1, max_length=200, description="What the link in the mail ends with.")],
    origin: CameFrom,
    accepting: TheAccepting,
    guessing: TheGuessing,
) -> HTMLResponse:
    """The page that the link in the mail opens. Looking at it accepts nothing."""
    try:
        with guessing.by(origin.address or "unknown"):
            return invitation_page(await accepting.look_up(token))
    except UnknownInvitation:
        return unknown_page()


@router.post("/accept")
async def accept_invitation(
    asked: InvitationToken, principal: Person, origin: CameFrom, accepting: TheAccepting, guessing: TheGuessing
) -> Joined:
    """Become a member. One's verified mail address must be the invited one; doing it again changes nothing."""
    with guessing.by(origin.address or "unknown"):
        return await accepting.accept_now(asked.token, principal.identity.subject)


@router.get("/{invitation}")
async def get_invitation(invitation: IdText, principal: Reader, invitations: TheInvitations) -> Invitation:
    """Get an invitation by its id."""
    return await invitations.get(principal, invitation)


@router.post("/{invitation}/resend")
async def resend_invitation(invitation: IdText, principal: Writer, invitations: TheInvitations) -> Invitation:
    """Send another mail with a new link. The link before is dead from now on."""
    return await invitations.resend(principal, invitation)


@router.delete("/{invitation}", status_code=204)
async def revoke_invitation(invitation: IdText, principal: Writer, invitations: TheInvitations) -> None:
    """Revoke an invitation that was not accepted. Its link is dead from now on."""
    await invitations.revoke(principal, invitation)
