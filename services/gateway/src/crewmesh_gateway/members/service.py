"""Who belongs to an organization and may do what in it.

Every change holds the organization's row, so that they come one after another, and looks again at what whoever asks may
do: of two owners who remove each other, one is too late. An organization always has an owner.
"""

from __future__ import annotations

from crewmesh_kit import audit
from crewmesh_kit.db.database import Database
from crewmesh_kit.http.pagination import Page, PageRequest
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_gateway.invitations import repository as invitations
from crewmesh_gateway.members import repository
from crewmesh_gateway.members.errors import LastOwner, UnknownMember
from crewmesh_gateway.members.repository import Filters
from crewmesh_gateway.members.schemas import Member
from crewmesh_gateway.members.standing import as_of_now
from crewmesh_gateway.organizations.guards import active, held
from crewmesh_gateway.principals.models import Principal
from crewmesh_gateway.principals.service import Principals
from crewmesh_gateway.roles.grants import covers, permissions_of, require_to_give, require_to_hold

_CHANGES = "members:write"


class Members:
    def __init__(self, database: Database, principals: Principals) -> None:
        self._database = database
        self._principals = principals

    async def page(self, principal: Principal, filters: Filters, request: PageRequest) -> Page[Member]:
        after = request.after_text()
        async with self._database.tenant(principal.organization) as conn:
            found = await repository.page(conn, principal.organization, filters, after, request.limit + 1)
        return request.page(found, lambda member: (member.id,))

    async def get(self, principal: Principal, user: str) -> Member:
        async with self._database.tenant(principal.organization) as conn:
            return await required(conn, principal.organization, user)

    async def set_role(self, principal: Principal, user: str, role: str) -> Member:
        organization = principal.organization
        async with self._database.tenant(organization) as conn:
            before, actor = await self._touchable(conn, principal, user)
            given = await require_to_give(conn, actor, role)
            if role == before.role:
                return before
            if role != "owner":
                await keep_an_owner(conn, organization, before)
            await repository.set_role(conn, organization, user, role)
            if not covers(given, await permissions_of(conn, organization, before.role)):
                await invitations.revoke_sent_by(conn, organization, user)
            self._principals.forget_with(conn, user)
            await record_role(conn, principal, before, role)
            return before.model_copy(update={"role": role})

    async def remove(self, principal: Principal, user: str) -> None:
        async with self._database.tenant(principal.organization) as conn:
            member, _ = await self._touchable(conn, principal, user)
            await self._let_go(conn, principal, member, "member.removed")

    async def leave(self, principal: Principal) -> None:
        """Also from an organization that is deleted: nobody is held."""
        async with self._database.tenant(principal.organization) as conn:
            await held(conn, principal.organization)
            member = await required(conn, principal.organization, principal.identity.subject)
            await self._let_go(conn, principal, member, "member.left")

    async def _touchable(
        self, conn: AsyncConnection[DictRow], principal: Principal, user: str
    ) -> tuple[Member, Principal]:
        """The member, and who asks as of now. The organization is locked; nobody touches who may do more than they."""
        await active(conn, principal.organization)
        member = await required(conn, principal.organization, user)
        actor = await as_of_now(conn, principal, _CHANGES)
        require_to_hold(actor, await permissions_of(conn, principal.organization, member.role))
        return member, actor

    async def _let_go(self, conn: AsyncConnection[DictRow], principal: Principal, member: Member, action: str) -> None:
        organization = principal.organization
        await keep_an_owner(conn, organization, member)
        await invitations.revoke_sent_by(conn, organization, member.id)
        await repository.remove(conn, organization, member.id)
        self._principals.forget_with(conn, member.id)
        told = member.model_dump(mode="json", include={"name", "email", "role", "teams"})
        await audit.record(conn, principal.identity, action, member.id, before=told)


async def required(conn: AsyncConnection[DictRow], organization: str, user: str) -> Member:
    found = await repository.find(conn, organization, user)
    if found is None:
        raise UnknownMember(user)
    return found


async def keep_an_owner(conn: AsyncConnection[DictRow], organization: str, leaving: Member) -> None:
    if leaving.role == "owner" and not await repository.has_other_owner(conn, organization, leaving.id):
        raise LastOwner


async def record_role(conn: AsyncConnection[DictRow], principal: Principal, before: Member, role: str) -> None:
    await audit.record(
        conn,
        principal.identity,
        "member.role-changed",
        before.id,
        before={"role": before.role},
        after={"role": role},
    )
