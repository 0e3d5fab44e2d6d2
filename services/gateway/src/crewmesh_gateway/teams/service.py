"""Teams, and who belongs to them. Being in one gives what was given to the team, so places count at once."""

from __future__ import annotations

from crewmesh_kit import audit
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.http.etags import require_match
from crewmesh_kit.http.pagination import Page, PageRequest
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_gateway.limits.quotas import Quotas
from crewmesh_gateway.members import repository as members
from crewmesh_gateway.members.schemas import Member
from crewmesh_gateway.members.service import required as required_member
from crewmesh_gateway.organizations.guards import active
from crewmesh_gateway.principals.models import Principal
from crewmesh_gateway.principals.service import Principals
from crewmesh_gateway.teams import repository
from crewmesh_gateway.teams.errors import TeamExists, UnknownTeam
from crewmesh_gateway.teams.schemas import NewTeam, Team, TeamChange


class Teams:
    def __init__(self, database: Database, idempotency: Idempotency, principals: Principals, quotas: Quotas) -> None:
        self._database = database
        self._idempotency = idempotency
        self._principals = principals
        self._quotas = quotas

    async def create(self, principal: Principal, new: NewTeam, *, key: str | None) -> Team:
        async with self._database.tenant(principal.organization) as conn:

            async def work() -> Team:
                await active(conn, principal.organization)
                await self._quotas.check(conn, principal.organization, "teams")
                created = await repository.add(conn, principal.organization, new.name)
                if created is None:
                    raise TeamExists(new.name)
                await audit.record(conn, principal.identity, "team.created", created.id, after={"name": new.name})
                return created

            return await self._idempotency.once_in(
                conn, identity=principal.identity, scope="teams", key=key, request=new, work=work
            )

    async def page(self, principal: Principal, request: PageRequest) -> Page[Team]:
        after = request.after_text()
        async with self._database.tenant(principal.organization) as conn:
            found = await repository.page(conn, principal.organization, after, request.limit + 1)
        return request.page(found, lambda team: (team.id,))

    async def get(self, principal: Principal, team: str) -> Team:
        async with self._database.tenant(principal.organization) as conn:
            return await _required(conn, principal, team)

    async def rename(self, principal: Principal, team: str, change: TeamChange, if_match: str | None) -> Team:
        async with self._database.tenant(principal.organization) as conn:
            before = await _held(conn, principal, team)
            require_match(if_match, before.version)
            if change.name == before.name:
                return before
            if await repository.name_is_taken(conn, principal.organization, change.name, but=team):
                raise TeamExists(change.name)
            after = await repository.rename(conn, principal.organization, team, change.name)
            if after is None:
                raise UnknownTeam(team)
            self._principals.forget_with(conn, principal.organization)
            told = {"name": before.name}, {"name": after.name}
            await audit.record(conn, principal.identity, "team.updated", team, before={**told[0]}, after={**told[1]})
            return after

    async def delete(self, principal: Principal, team: str) -> None:
        async with self._database.tenant(principal.organization) as conn:
            before = await _held(conn, principal, team)
            await repository.delete(conn, principal.organization, team)
            self._principals.forget_with(conn, principal.organization)
            told = {"name": before.name, "members": before.members}
            await audit.record(conn, principal.identity, "team.deleted", team, before={**told})

    async def members(self, principal: Principal, team: str, request: PageRequest) -> Page[Member]:
        after = request.after_text()
        async with self._database.tenant(principal.organization) as conn:
            await _required(conn, principal, team)
            found = await members.page(
                conn,
                principal.organization,
                members.Filters(team=team),
                after,
                request.limit + 1,
            )
        return request.page(found, lambda member: (member.id,))

    async def place(self, principal: Principal, team: str, user: str) -> None:
        async with self._database.tenant(principal.organization) as conn:
            await _held(conn, principal, team)
            await required_member(conn, principal.organization, user)
            if await repository.place(conn, principal.organization, team, user):
                self._principals.forget_with(conn, user)
                await audit.record(conn, principal.identity, "team.member-added", team, after={"user": user})

    async def take_out(self, principal: Principal, team: str, user: str) -> None:
        async with self._database.tenant(principal.organization) as conn:
            await _held(conn, principal, team)
            await required_member(conn, principal.organization, user)
            if await repository.take_out(conn, principal.organization, team, user):
                self._principals.forget_with(conn, user)
                await audit.record(conn, principal.identity, "team.member-removed", team, before={"user": user})


async def _held(conn: AsyncConnection[DictRow], principal: Principal, team: str) -> Team:
    """The team, with the organization locked."""
    await active(conn, principal.organization)
    return await _required(conn, principal, team)


async def _required(conn: AsyncConnection[DictRow], principal: Principal, team: str) -> Team:
    found = await repository.find(conn, principal.organization, team)
    if found is None:
        raise UnknownTeam(team)
    return found
