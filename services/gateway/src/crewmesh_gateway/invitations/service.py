"""Inviting people by mail, into one organization and with one role.

The right to a place is the token in the mail together with the address it was sent to. Who invites holds what they
offer; who may not invite any more takes their open invitations with them.
"""

from __future__ import annotations

from crewmesh_kit import audit
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.http.pagination import Page, PageRequest
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_gateway.accounts.throttle import Throttle
from crewmesh_gateway.invitations import repository
from crewmesh_gateway.invitations.errors import (
    InvitationOpen,
    InvitationOver,
    InvitedAMomentAgo,
    MemberAlready,
    TeamsNotYours,
    TooManyInvitations,
    UnknownInvitation,
)
from crewmesh_gateway.invitations.letters import InvitationLetters
from crewmesh_gateway.invitations.repository import ToSend
from crewmesh_gateway.invitations.schemas import Invitation, InvitationStatus, NewInvitation
from crewmesh_gateway.invitations.tokens import LinkToken
from crewmesh_gateway.limits.quotas import Quotas
from crewmesh_gateway.mail.service import Mailer
from crewmesh_gateway.members.standing import as_of_now
from crewmesh_gateway.organizations.guards import active
from crewmesh_gateway.organizations.schemas import Organization
from crewmesh_gateway.principals.models import Principal
from crewmesh_gateway.roles.grants import require_to_give
from crewmesh_gateway.settings import InvitationSettings
from crewmesh_gateway.teams import repository as teams
from crewmesh_gateway.teams.errors import UnknownTeam

_INVITES = "members:write"
_PLACES = "teams:write"


class Invitations:
    def __init__(
        self,
        database: Database,
        idempotency: Idempotency,
        mailer: Mailer,
        letters: InvitationLetters,
        quotas: Quotas,
        throttle: Throttle,
        settings: InvitationSettings,
    ) -> None:
        self._database = database
        self._idempotency = idempotency
        self._mailer = mailer
        self._letters = letters
        self._quotas = quotas
        self._throttle = throttle
        self._settings = settings

    async def invite(self, principal: Principal, new: NewInvitation, *, key: str | None) -> Invitation:
        await self._take_one(principal.organization)
        async with self._database.tenant(principal.organization) as conn:

            async def work() -> Invitation:
                return await self._invite(conn, principal, new)

            return await self._idempotency.once_in(
                conn, identity=principal.identity, scope="invitations", key=key, request=new, work=work
            )

    async def page(
        self, principal: Principal, status: InvitationStatus | None, request: PageRequest
    ) -> Page[Invitation]:
        before = request.after_text()
        async with self._database.tenant(principal.organization) as conn:
            found = await repository.page(conn, principal.organization, status, before, request.limit + 1)
        return request.page(found, lambda invitation: (invitation.id,))

    async def get(self, principal: Principal, invitation: str) -> Invitation:
        async with self._database.tenant(principal.organization) as conn:
            return await _required(conn, principal, invitation)

    async def resend(self, principal: Principal, invitation: str) -> Invitation:
        """Another mail with another link; the link before is dead from now on, and the time begins anew."""
        await self._take_one(principal.organization)
        async with self._database.tenant(principal.organization) as conn:
            organization = await active(conn, principal.organization)
            before = await _required(conn, principal, invitation)
            if before.status not in ("open", "expired"):
                raise InvitationOver(before.status)
            await _require_to_offer(conn, principal, before.role, before.teams)
            await self._spare(conn, principal.organization, before.email)
            if before.status == "expired":  # an open one has its place already
                await self._quotas.check(conn, principal.organization, "members")
            token = LinkToken.generate()
            after = await repository.send_again(
                conn, principal.organization, invitation, digest=token.digest(), days=self._settings.days
            )
            return await self._send(conn, principal, organization, after, token, "invitation.resent")

    async def revoke(self, principal: Principal, invitation: str) -> None:
        async with self._database.tenant(principal.organization) as conn:
            await active(conn, principal.organization)
            before = await _required(conn, principal, invitation)
            if before.status == "accepted":
                raise InvitationOver("accepted")
            if await repository.revoke(conn, principal.organization, invitation):
                told = before.model_dump(mode="json", include={"email", "role", "teams"})
                await audit.record(conn, principal.identity, "invitation.revoked", invitation, before=told)

    async def _take_one(self, organization: str) -> None:
        """Nobody's organization is a way to send mails to everybody. It counts when it is asked for."""
        hourly = self._settings.mails_per_hour
        async with self._database.system() as conn:
            room = await self._throttle.room_in(conn, self._throttle.of_invitations(organization, hourly))
        if not room:
            raise TooManyInvitations(hourly)

    async def _invite(self, conn: AsyncConnection[DictRow], principal: Principal, new: NewInvitation) -> Invitation:
        organization = await active(conn, principal.organization)
        await _require_to_offer(conn, principal, new.role, new.teams)
        await self._make_room(conn, principal.organization, new.email)
        await self._quotas.check(conn, principal.organization, "members")
        token, sender = LinkToken.generate(), _sender(principal)
        to_send = ToSend(new.email, new.role, sorted(set(new.teams)), sender)
        added = await repository.add(
            conn, principal.organization, to_send, digest=token.digest(), days=self._settings.days
        )
        return await self._send(conn, principal, organization, added, token, "invitation.created")

    async def _make_room(self, conn: AsyncConnection[DictRow], organization: str, email: str) -> None:
        """One invitation per address; one that expired gives way."""
        if (member := await repository.member_with(conn, organization, email)) is not None:
            raise MemberAlready(member)
        before = await repository.unsettled(conn, organization, email)
        if before is not None and before.status == "open":
            raise InvitationOpen(before.id)
        await self._spare(conn, organization, email)
        if before is not None:
            await repository.revoke(conn, organization, before.id)

    async def _spare(self, conn: AsyncConnection[DictRow], organization: str, email: str) -> None:
        """Nobody's letter box is filled by inviting, revoking and inviting again."""
        seconds = await repository.seconds_since_sent(conn, organization, email)
        if seconds is not None and seconds < self._settings.resend_seconds:
            raise InvitedAMomentAgo(self._settings.resend_seconds - seconds)

    async def _send(
        self,
        conn: AsyncConnection[DictRow],
        principal: Principal,
        organization: Organization,
        invitation: Invitation | None,
        token: LinkToken,
        action: str,
    ) -> Invitation:
        if invitation is None:
            raise UnknownInvitation
        sender = await repository.name_of(conn, _sender(principal))
        mail = self._letters.invitation(invitation, token, organization=organization.name, sender=sender)
        await self._mailer.send(conn, mail)
        told = invitation.model_dump(mode="json", include={"email", "role", "teams", "expires_at"})
        await audit.record(conn, principal.identity, action, invitation.id, after=told)
        return invitation


def _sender(principal: Principal) -> str:
    """Who stands behind it: invitations outlive the key or the login that sent them."""
    return principal.identity.acting_for or principal.identity.subject


async def _require_to_offer(
    conn: AsyncConnection[DictRow], principal: Principal, role: str, places: tuple[str, ...]
) -> None:
    actor = await as_of_now(conn, principal, _INVITES)
    await require_to_give(conn, actor, role)
    if places and not actor.identity.allows(_PLACES):
        raise TeamsNotYours
    unknown = await teams.missing(conn, principal.organization, places)
    if unknown is not None:
        raise UnknownTeam(unknown)


async def _required(conn: AsyncConnection[DictRow], principal: Principal, invitation: str) -> Invitation:
    found = await repository.find(conn, principal.organization, invitation)
    if found is None:
        raise UnknownInvitation
    return found
