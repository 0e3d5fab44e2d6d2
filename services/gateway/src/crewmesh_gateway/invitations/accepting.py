"""What happens at the other end of the link: looking at an invitation, and becoming a member by it.

The organization is locked before the invitation is read for good, so that of two who accept at once one becomes a
member and the other finds that it happened. Accepting again is answered like the first time, as long as it lasts.
"""

from __future__ import annotations

from crewmesh_kit import audit
from crewmesh_kit.db.database import Database
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_gateway.audit import personal
from crewmesh_gateway.invitations import repository
from crewmesh_gateway.invitations.errors import InvitationForAnother, InvitationOver, UnknownInvitation
from crewmesh_gateway.invitations.schemas import Invitation, InvitationShown, Joined
from crewmesh_gateway.invitations.tokens import LinkToken
from crewmesh_gateway.members import repository as members
from crewmesh_gateway.organizations.guards import active
from crewmesh_gateway.principals.service import Principals
from crewmesh_gateway.teams import repository as teams


class Accepting:
    def __init__(self, database: Database, principals: Principals) -> None:
        self._database = database
        self._principals = principals

    async def look_up(self, token: str) -> InvitationShown:
        async with self._database.system() as conn:
            shown = await repository.shown(conn, LinkToken(token).digest())
        if shown is None:
            raise UnknownInvitation
        return shown

    async def accept(self, conn: AsyncConnection[DictRow], token: str, user: str) -> str:
        """The organization that ``user`` belongs to from now on; ``conn`` is a transaction of the system.

        A Problem says why not: the person's verified address must be the invited one.
        """
        digest = LinkToken(token).digest()
        organization = await repository.place_of(conn, digest)
        if organization is None:
            raise UnknownInvitation
        await active(conn, organization)
        invitation = await repository.by_token(conn, digest)
        if invitation is None:  # sent again meanwhile
            raise UnknownInvitation
        if not await repository.has_address(conn, user, invitation.email):
            raise InvitationForAnother
        if invitation.status == "open":
            await self._join(conn, organization, invitation, user)
        elif not await _joined_by_it(conn, organization, invitation, user):
            raise InvitationOver(invitation.status)
        return organization

    async def accept_now(self, token: str, user: str) -> Joined:
        async with self._database.system() as conn:
            organization = await self.accept(conn, token, user)
            held = await active(conn, organization)
            role = await members.role_of(conn, organization, user)
        return Joined(organization=organization, name=held.name, role=role or "")

    async def _join(self, conn: AsyncConnection[DictRow], organization: str, invitation: Invitation, user: str) -> None:
        await members.add(conn, organization, user, invitation.role)
        await teams.place_in_all(conn, organization, invitation.teams, user)
        await repository.accept(conn, invitation.id, user)
        self._principals.forget_with(conn, user)
        actor = personal.person(user, organization)
        told = invitation.model_dump(mode="json", include={"email", "role", "teams", "invited_by"})
        await audit.record(conn, actor, "invitation.accepted", invitation.id, after={**told, "user": user})


async def _joined_by_it(conn: AsyncConnection[DictRow], organization: str, invitation: Invitation, user: str) -> bool:
    """Whether this person accepted it and is still a member: an old link brings nobody back."""
    return invitation.accepted_by == user and await members.role_of(conn, organization, user) is not None
