"""Somebody who is logged in turns their second factor on or off."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_kit.db.database import Database
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from pydantic import SecretStr

from crewmesh_gateway.accounts import repository as accounts
from crewmesh_gateway.accounts.letters import Letters
from crewmesh_gateway.accounts.profile import Profile
from crewmesh_gateway.accounts.throttle import Throttle
from crewmesh_gateway.audit import personal
from crewmesh_gateway.mail.service import Mailer
from crewmesh_gateway.principals.models import Principal
from crewmesh_gateway.second_factor import totp
from crewmesh_gateway.second_factor.schemas import RecoveryCodes, SecondFactorBegun
from crewmesh_gateway.second_factor.service import SecondFactor


class MySecondFactor:
    def __init__(
        self,
        database: Database,
        factor: SecondFactor,
        profile: Profile,
        throttle: Throttle,
        mailer: Mailer,
        letters: Letters,
    ) -> None:
        self._database = database
        self._factor = factor
        self._profile = profile
        self._throttle = throttle
        self._mailer = mailer
        self._letters = letters

    async def begin(self, principal: Principal, password: SecretStr) -> SecondFactorBegun:
        account = await self._profile.prove_password(principal, password)
        async with self._database.system() as conn:
            secret = await self._factor.begin(conn, account.id)
            await personal.record(conn, principal.identity, "second-factor.begun", account.id)
        uri = totp.as_uri(secret, account=account.email or account.name)
        return SecondFactorBegun(secret=totp.as_text(secret), uri=uri)

    async def confirm(self, principal: Principal, code: str) -> RecoveryCodes:
        async with self._changing(principal) as (conn, user):
            codes = await self._factor.confirm(conn, user, code)
            await self._tell(conn, principal, on=True)
        return RecoveryCodes(recovery_codes=codes)

    async def renew_codes(self, principal: Principal, code: str) -> RecoveryCodes:
        async with self._changing(principal) as (conn, user):
            codes = await self._factor.renew_codes(conn, user, code)
            await personal.record(conn, principal.identity, "second-factor.recovery-codes-renewed", user)
        return RecoveryCodes(recovery_codes=codes)

    async def remove(self, principal: Principal, password: SecretStr, code: str) -> None:
        await self._profile.prove_password(principal, password)
        async with self._changing(principal) as (conn, user):
            await self._factor.remove(conn, user, code)
            await self._tell(conn, principal, on=False)

    @asynccontextmanager
    async def _changing(self, principal: Principal) -> AsyncGenerator[tuple[AsyncConnection[DictRow], str]]:
        """One transaction; what is wrong in it stays counted."""
        user = principal.user or ""
        bucket = self._throttle.of_person(user)
        await self._throttle.take(bucket)
        async with self._database.system() as conn:
            yield conn, user
        await self._throttle.give_back(bucket)

    async def _tell(self, conn: AsyncConnection[DictRow], principal: Principal, *, on: bool) -> None:
        account = await accounts.held(conn, principal.user or "")
        if account is not None and account.email is not None:
            await self._mailer.send(conn, self._letters.second_factor(account.email, account.name, on=on))
        action = "second-factor.turned-on" if on else "second-factor.turned-off"
        await personal.record(conn, principal.identity, action, principal.user or "")
