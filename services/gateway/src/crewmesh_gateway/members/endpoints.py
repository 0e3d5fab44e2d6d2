"""HTTP of members, and of leaving and handing over an organization."""

from __future__ import annotations

from typing import Annotated

from crewmesh_kit.app import provided
from crewmesh_kit.http.pagination import Page, PageQuery
from fastapi import APIRouter, Query

from crewmesh_gateway.accounts.profile import Profile
from crewmesh_gateway.ids import IdText
from crewmesh_gateway.members.repository import Filters
from crewmesh_gateway.members.schemas import Member, MemberChange
from crewmesh_gateway.members.service import Members
from crewmesh_gateway.members.transfer import Transfers
from crewmesh_gateway.organizations.schemas import Transfer
from crewmesh_gateway.principals.access import Person, needs
from crewmesh_gateway.principals.errors import NotAPerson
from crewmesh_gateway.principals.models import Principal

router = APIRouter(prefix="/v1", tags=["members"])

Reader = Annotated[Principal, needs("members:read")]
Writer = Annotated[Principal, needs("members:write")]
TheMembers = Annotated[Members, provided(Members)]


@router.get("/members")
async def list_members(
    principal: Reader,
    members: TheMembers,
    page: PageQuery,
    role: Annotated[IdText | None, Query(description="Only those with this role.")] = None,
    team: Annotated[IdText | None, Query(description="Only those in this team.")] = None,
    q: Annotated[str | None, Query(max_length=200, description="Part of the name or the mail address.")] = None,
) -> Page[Member]:
    """List the people of the organization."""
    return await members.page(principal, Filters(role=role, team=team, q=q), page)


@router.get("/members/{user}")
async def get_member(user: IdText, principal: Reader, members: TheMembers) -> Member:
    """Get a member by their id."""
    return await members.get(principal, user)


@router.patch("/members/{user}")
async def change_member(user: IdText, change: MemberChange, principal: Writer, members: TheMembers) -> Member:
    """Give a member another role. Neither the old nor the new one may hold more than one's own."""
    return await members.set_role(principal, user, change.role)


@router.delete("/members/{user}", status_code=204)
async def remove_member(user: IdText, principal: Writer, members: TheMembers) -> None:
    """Remove a member. Their keys and their places in teams end with it, and they are out at once."""
    await members.remove(principal, user)


@router.post("/organization/leave", status_code=204)
async def leave_organization(principal: Person, members: TheMembers) -> None:
    """Leave the organization. One's keys in it end, and one is out at once."""
    await members.leave(principal)


@router.post("/organization/transfer", status_code=204)
async def transfer_organization(
    asked: Transfer,
    principal: Annotated[Principal, needs("organization:transfer")],
    profile: Annotated[Profile, provided(Profile)],
    transfers: Annotated[Transfers, provided(Transfers)],
) -> None:
    """Hand the organization over to another member, and be an admin of it from now on."""
    if not principal.is_person:
        raise NotAPerson
    await profile.prove_password(principal, asked.password)
    await transfers.transfer(principal, asked.user)
