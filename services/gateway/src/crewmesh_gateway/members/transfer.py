"""Handing an organization over: another member becomes its owner, and who was it becomes an admin."""

from __future__ import annotations

from crewmesh_kit.db.database import Database

from crewmesh_gateway.invitations import repository as invitations
from crewmesh_gateway.members import repository
from crewmesh_gateway.members.errors import NotTheOwner, OwnerAlready
from crewmesh_gateway.members.service import record_role, required
from crewmesh_gateway.members.standing import as_of_now
from crewmesh_gateway.organizations.guards import active
from crewmesh_gateway.principals.models import Principal
from crewmesh_gateway.principals.service import Principals


class Transfers:
    def __init__(self, database: Database, principals: Principals) -> None:
        self._database = database
        self._principals = principals

    async def transfer(self, principal: Principal, to: str) -> None:
        organization, owner = principal.organization, principal.identity.subject
        if to == owner:
            raise OwnerAlready
        async with self._database.tenant(organization) as conn:
            await active(conn, organization)
            # Asked again with the organization held: whoever hands it over twice hands it over once.
            actor = await as_of_now(conn, principal, "organization:transfer")
            if actor.role != "owner":
                raise NotTheOwner
            heir, former = await required(conn, organization, to), await required(conn, organization, owner)
            for member, role in ((heir, "owner"), (former, "admin")):
                await repository.set_role(conn, organization, member.id, role)
                await record_role(conn, principal, member, role)
            await invitations.revoke_sent_by(conn, organization, former.id)
            self._principals.forget_with(conn, heir.id, former.id)
