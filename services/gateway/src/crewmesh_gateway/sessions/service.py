"""Logins: how they begin, go on, change their organization, and end.

A refresh token is good once. The next one follows from it, so requests that show the same one at the same time all get
the same next one, and for some seconds it may still be shown by those that were sent together. Any older one that comes
back was copied by somebody: the login ends, for whoever holds it.
"""

from __future__ import annotations

import hmac
from datetime import datetime

from crewmesh_kit.db.database import Database
from crewmesh_kit.ids import new_id
from crewmesh_kit.origin import Origin
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_gateway.audit import personal
from crewmesh_gateway.principals.models import Principal
from crewmesh_gateway.principals.service import Principals
from crewmesh_gateway.sessions.access_tokens import AccessTokens
from crewmesh_gateway.sessions.errors import NoSuchSession, NotAMember, SessionEnded
from crewmesh_gateway.sessions.models import Begun, StoredSession
from crewmesh_gateway.sessions.refresh_tokens import RefreshToken, RefreshTokens
from crewmesh_gateway.sessions.repository import SessionRepository
from crewmesh_gateway.sessions.schemas import SessionView, TokenView


class Sessions:
    def __init__(
        self,
        database: Database,
        repository: SessionRepository,
        access: AccessTokens,
        refresh: RefreshTokens,
        principals: Principals,
        *,
        over_https: bool,
        most: int,
    ) -> None:
        self._database = database
        self._repository = repository
        self._access = access
        self._refresh = refresh
        self._principals = principals
        self._over_https = over_https
        self._most = most

    async def begin(
        self, conn: AsyncConnection[DictRow], *, user: str, organization: str | None, origin: Origin
    ) -> Begun:
        """A new login of a person who has proved who they are, in an organization of theirs if they belong to one.

        ``conn`` is a transaction of ``Database.system()``; the login exists when it is committed.
        """
        token = self._refresh.first(new_id("ses"))
        expires = await self._repository.add(conn, token, user=user, organization=organization, origin=origin)
        if organization is not None:
            await self._repository.work_in(conn, token.session, user, organization)
        await personal.record(conn, personal.person(user, organization), "session.begun", token.session)
        for session, at in await self._repository.end_least_used(conn, user, "too-many", most=self._most):
            await self._tell_ended(conn, session, user, at, "too-many")
        return self._begun(token, user, organization, expires)

    async def revoke_all(
        self, conn: AsyncConnection[DictRow], user: str, *, because: str, keep: str | None = None
    ) -> int:
        """End every login of a person, in the caller's ``Database.system()`` transaction, but the one to ``keep``."""
        ended = await self._repository.end_all(conn, user, because, keep)
        for session, organization in ended:
            await self._tell_ended(conn, session, user, organization, because)
        return len(ended)

    async def refresh(self, token: RefreshToken, origin: Origin) -> Begun:
        """The login goes on with the next token. Raises SessionEnded when there is none any more."""
        async with self._database.system() as conn:
            stored = await self._repository.locked(conn, token.session)
            if stored is None or not stored.lives:
                raise SessionEnded
            begun = await self._go_on(conn, stored, token, origin)
            if begun is None:
                await self._end(conn, stored, "reuse")
        if begun is None:  # only now: the end is committed
            raise SessionEnded
        return begun

    async def log_out(self, token: RefreshToken) -> None:
        """End the login, if it has not ended yet."""
        async with self._database.system() as conn:
            stored = await self._repository.locked(conn, token.session)
            if stored is not None and stored.lives:
                await self._end(conn, stored, "logout")

    async def log_out_everywhere(self, principal: Principal, *, keep_current: bool) -> int:
        async with self._database.system() as conn:
            keep = principal.credential if keep_current else None
            return await self.revoke_all(conn, principal.identity.subject, because="logout-all", keep=keep)

    async def revoke(self, principal: Principal, session: str) -> None:
        """End one of the person's logins. Raises NoSuchSession when it is not theirs."""
        async with self._database.system() as conn:
            stored = await self._repository.locked(conn, session)
            if stored is None or stored.user != principal.identity.subject:
                raise NoSuchSession
            if stored.lives:
                await self._end(conn, stored, "revoked")

    async def switch(self, principal: Principal, organization: str) -> TokenView:
        """Work in another of the person's organizations from now on."""
        user, session = principal.identity.subject, principal.credential
        async with self._database.system() as conn:
            stored = await self._repository.locked(conn, session)
            if stored is None or not stored.lives:
                raise SessionEnded
            if await self._repository.organization_of(conn, user, organization) != organization:
                raise NotAMember
            await self._repository.work_in(conn, session, user, organization)
            before, after = {"organization": stored.organization}, {"organization": organization}
            actor = personal.person(user, organization)
            await personal.record(conn, actor, "session.switched", session, before={**before}, after={**after})
        access, expires = self._access.issue(user, organization, session)
        return TokenView(
            access_token=access,
            expires_at=expires,
            csrf_token=self._refresh.csrf_of(session),
            organization=organization,
        )

    async def of(self, principal: Principal, *, after: str | None, most: int) -> list[SessionView]:
        """The person's logins that still hold, the newest first."""
        async with self._database.system() as conn:
            user = principal.identity.subject
            return await self._repository.of_user(conn, user, current=principal.credential, after=after, most=most)

    async def _go_on(
        self, conn: AsyncConnection[DictRow], stored: StoredSession, token: RefreshToken, origin: Origin
    ) -> Begun | None:
        """Nothing when the token's time is over."""
        present = hmac.compare_digest(token.digest(), stored.refresh_sha256)
        previous = hmac.compare_digest(token.digest(), stored.previous_sha256 or b"")
        if not present and not (previous and stored.in_grace):
            return None
        organization = await self._repository.organization_of(conn, stored.user, stored.organization)
        successor, expires = self._refresh.after(token), stored.expires_at
        if present:
            expires = await self._repository.go_on(conn, successor, organization=organization, origin=origin)
        return self._begun(successor, stored.user, organization, expires)

    async def _end(self, conn: AsyncConnection[DictRow], stored: StoredSession, because: str) -> None:
        await self._repository.end(conn, stored.id, because)
        await self._tell_ended(conn, stored.id, stored.user, stored.organization, because)

    async def _tell_ended(
        self, conn: AsyncConnection[DictRow], session: str, user: str, organization: str | None, because: str
    ) -> None:
        self._principals.forget_with(conn, session)
        actor = personal.person(user, organization)
        await personal.record(conn, actor, "session.ended", session, after={"because": because})

    def _begun(self, token: RefreshToken, user: str, organization: str | None, expires: datetime) -> Begun:
        access, access_expires = self._access.issue(user, organization, token.session)
        return Begun(
            session=token.session,
            access_token=access,
            access_expires_at=access_expires,
            refresh_token=token.text,
            refresh_expires_at=expires,
            csrf_token=self._refresh.csrf_of(token.session),
            organization=organization,
            over_https=self._over_https,
        )
