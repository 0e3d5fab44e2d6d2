"""The last step of every way in: a person who has proved who they are begins a login, in one of their organizations.

Somebody who belongs to none gets in all the same, and can accept an invitation or found one.
"""

from __future__ import annotations

from crewmesh_kit.origin import Origin
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_gateway.accounts.joining import Joining
from crewmesh_gateway.accounts.repository import Account
from crewmesh_gateway.sessions.errors import NotAMember
from crewmesh_gateway.sessions.models import Begun
from crewmesh_gateway.sessions.repository import SessionRepository
from crewmesh_gateway.sessions.service import Sessions


class SignIn:
    def __init__(self, sessions: Sessions, memberships: SessionRepository, joining: Joining) -> None:
        self._sessions = sessions
        self._memberships = memberships
        self._joining = joining

    async def begin(
        self,
        conn: AsyncConnection[DictRow],
        account: Account,
        origin: Origin,
        *,
        organization: str | None = None,
        invitation: str | None = None,
    ) -> Begun:
        """In the ``organization``, that of the ``invitation``, the last one, any, or none; in this order."""
        if invitation is not None:
            joined = await self._joining.by_invitation(conn, invitation, account.id)
            organization = organization or joined
        preferred = organization or account.last_organization
        found = await self._memberships.organization_of(conn, account.id, preferred)
        if organization is not None and found != organization:
            raise NotAMember
        return await self._sessions.begin(conn, user=account.id, organization=found, origin=origin)
