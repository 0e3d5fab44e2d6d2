"""Choosing a new password without the old one, with a link that is mailed to the account's address."""

from __future__ import annotations

from crewmesh_kit.db.database import Database
from crewmesh_kit.origin import Origin
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from pydantic import SecretStr

from crewmesh_gateway.accounts import one_time_tokens as tokens
from crewmesh_gateway.accounts import password_rules, repository
from crewmesh_gateway.accounts.errors import LinkExpired
from crewmesh_gateway.accounts.later import AccountRequest, Later
from crewmesh_gateway.accounts.letters import Letters
from crewmesh_gateway.accounts.passwords import Passwords
from crewmesh_gateway.accounts.repository import Account
from crewmesh_gateway.accounts.throttle import Throttle
from crewmesh_gateway.audit import personal
from crewmesh_gateway.mail.service import Mailer
from crewmesh_gateway.sessions.repository import SessionRepository
from crewmesh_gateway.sessions.service import Sessions
from crewmesh_gateway.settings import AccountSettings

_AGAIN = "POST /v1/auth/password/forgot"


class Recovery:
    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        throttle: Throttle,
        later: Later,
        mailer: Mailer,
        letters: Letters,
        sessions: Sessions,
        memberships: SessionRepository,
        settings: AccountSettings,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._throttle = throttle
        self._later = later
        self._mailer = mailer
        self._letters = letters
        self._sessions = sessions
        self._memberships = memberships
        self._seconds = settings.reset_minutes * 60

    async def forgot(self, email: str, origin: Origin) -> None:
        await self._throttle.take(self._throttle.of_visitor(origin.address))
        await self._later.add("forgot", email, origin)

    async def asked(self, conn: AsyncConnection[DictRow], request: AccountRequest) -> None:
        """Later: whoever has an account with this address gets a link."""
        account = await repository.by_email(conn, request.email)
        if account is None or account.email is None:
            return
        if await self._throttle.room_in(conn, self._throttle.of_mails(request.email)):
            text, _ = await tokens.make(conn, "reset", seconds=self._seconds, user=account.id)
            await self._mailer.send(conn, self._letters.reset(account.email, account.name, text))

    async def reset(self, text: str, password: SecretStr, origin: Origin) -> None:
        """Every login of the person ends, and nothing that was mailed before works any more."""
        async with self._database.system() as conn:
            account = await self._whose(conn, text)
        password_rules.check(password, about=(account.email or "", account.name))
        async with self._passwords.turn():
            password_hash = await self._passwords.hashed(password)
        async with self._database.system() as conn:
            account = await self._whose(conn, text)
            await repository.set_password(conn, account.id, password_hash)
            await tokens.use_up_all(conn, user=account.id)
            await self._sessions.revoke_all(conn, account.id, because="password-reset")
            if account.email is not None:
                await self._mailer.send(conn, self._letters.password_changed(account.email, account.name))
            await self._note(conn, account)
        # Who has the mailbox is no guesser, whatever was tried before from the same place.
        await self._throttle.proved(account.id, account.email or "", origin.address)

    async def _whose(self, conn: AsyncConnection[DictRow], text: str) -> Account:
        _, account = await tokens.held(conn, text, "reset") or (None, None)
        if account is None:
            raise LinkExpired(_AGAIN)
        return account

    async def _note(self, conn: AsyncConnection[DictRow], account: Account) -> None:
        organization = await self._memberships.organization_of(conn, account.id, account.last_organization)
        await personal.record(conn, personal.person(account.id, organization), "user.password-reset", account.id)
