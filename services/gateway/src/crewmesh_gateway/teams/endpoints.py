"""HTTP of teams."""

from __future__ import annotations

from typing import Annotated

from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import IdempotencyKey
from crewmesh_kit.http.etags import IfMatch, etag_of
from crewmesh_kit.http.pagination import Page, PageQuery
from fastapi import APIRouter, Response

from crewmesh_gateway.ids import IdText
from crewmesh_gateway.members.schemas import Member
from crewmesh_gateway.principals.access import needs
from crewmesh_gateway.principals.models import Principal
from crewmesh_gateway.teams.schemas import NewTeam, Team, TeamChange
from crewmesh_gateway.teams.service import Teams

router = APIRouter(prefix="/v1/teams", tags=["teams"])

Reader = Annotated[Principal, needs("members:read")]
Writer = Annotated[Principal, needs("teams:write")]
TheTeams = Annotated[Teams, provided(Teams)]


@router.post("", status_code=201)
async def create_team(
    new: NewTeam, principal: Writer, teams: TheTeams, response: Response, key: IdempotencyKey = None
) -> Team:
    """Create a team."""
    created = await teams.create(principal, new, key=key)
    response.headers["Location"] = f"/v1/teams/{created.id}"
    response.headers["ETag"] = etag_of(created.version)
    return created


@router.get("")
async def list_teams(principal: Reader, teams: TheTeams, page: PageQuery) -> Page[Team]:
    """List the organization's teams."""
    return await teams.page(principal, page)


@router.get("/{team}")
async def get_team(team: IdText, principal: Reader, teams: TheTeams, response: Response) -> Team:
    """Get a team by its id."""
    found = await teams.get(principal, team)
    response.headers["ETag"] = etag_of(found.version)
    return found


@router.patch("/{team}")
async def change_team(
    team: IdText, change: TeamChange, principal: Writer, teams: TheTeams, response: Response, if_match: IfMatch = None
) -> Team:
    """Give a team another name."""
    changed = await teams.rename(principal, team, change, if_match)
    response.headers["ETag"] = etag_of(changed.version)
    return changed


@router.delete("/{team}", status_code=204)
async def delete_team(team: IdText, principal: Writer, teams: TheTeams) -> None:
    """Delete a team. Its members stay in the organization."""
    await teams.delete(principal, team)


@router.get("/{team}/members")
async def list_team_members(team: IdText, principal: Reader, teams: TheTeams, page: PageQuery) -> Page[Member]:
    """List the members who belong to a team."""
    return await teams.members(principal, team, page)


@router.put("/{team}/members/{user}", status_code=204)
async def add_team_member(team: IdText, user: IdText, principal: Writer, teams: TheTeams) -> None:
    """Put a member into a team; nothing happens when they are in it."""
    await teams.place(principal, team, user)


@router.delete("/{team}/members/{user}", status_code=204)
async def remove_team_member(team: IdText, user: IdText, principal: Writer, teams: TheTeams) -> None:
    """Take a member out of a team; nothing happens when they are not in it."""
    await teams.take_out(principal, team, user)
