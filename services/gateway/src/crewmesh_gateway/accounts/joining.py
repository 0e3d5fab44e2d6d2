"""Which organization a new person belongs to: the one they were invited to, or one of their own."""

from __future__ import annotations

from typing import Literal

from crewmesh_kit.errors import Problem
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_gateway.accounts.errors import SignupClosed
from crewmesh_gateway.invitations.accepting import Accepting
from crewmesh_gateway.invitations.errors import InvitationForAnother, InvitationOver
from crewmesh_gateway.organizations.founding import found

SignupMode = Literal["open", "invited", "closed"]


class Joining:
    def __init__(self, invitations: Accepting, mode: SignupMode) -> None:
        self._invitations = invitations
        self._mode = mode

    async def check(self, email: str, invitation: str | None) -> None:
        """Whether somebody may sign up so. Raises SignupClosed, or what is wrong with the invitation.

        Whoever holds an invitation has it from a mail to that address: telling more to them tells nothing to strangers.
        """
        self._check_open(invited=invitation is not None)
        if invitation is not None:
            shown = await self._invitations.look_up(invitation)
            if shown.status != "open":
                raise InvitationOver(shown.status)
            if shown.email.lower() != email.lower():
                raise InvitationForAnother

    async def by_invitation(self, conn: AsyncConnection[DictRow], token: str, user: str) -> str:
        return await self._invitations.accept(conn, token, user)

    async def first(
        self, conn: AsyncConnection[DictRow], user: str, *, organization: str, invitation: str | None
    ) -> str:
        """The organization of somebody new."""
        if invitation is not None:
            try:
                async with conn.transaction():  # what it began is taken back when it cannot be accepted
                    return await self.by_invitation(conn, invitation, user)
            except Problem:
                # It ended while its person was on the way. Where everybody may sign up, so may they.
                if self._mode != "open":
                    raise
        self._check_open(invited=False)
        return await found(conn, name=organization, owner=user)

    def _check_open(self, *, invited: bool) -> None:
        if self._mode == "closed" or (self._mode == "invited" and not invited):
            raise SignupClosed(invited=self._mode == "invited")
