"""What people change of their own account while they are logged in."""

from __future__ import annotations

from crewmesh_kit.db.database import Database
from crewmesh_kit.errors import NotFound
from crewmesh_kit.identity import ALL_PERMISSIONS
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from pydantic import SecretStr

from crewmesh_gateway.accounts import one_time_tokens as tokens
from crewmesh_gateway.accounts import password_rules, repository
from crewmesh_gateway.accounts.errors import LoginExists, NotTheOwnersKey, PasswordWrong
from crewmesh_gateway.accounts.letters import Letters
from crewmesh_gateway.accounts.passwords import Passwords
from crewmesh_gateway.accounts.repository import Account
from crewmesh_gateway.accounts.signup import Signup
from crewmesh_gateway.accounts.throttle import Throttle
from crewmesh_gateway.audit import personal
from crewmesh_gateway.mail.service import Mailer
from crewmesh_gateway.principals.models import Principal
from crewmesh_gateway.sessions.service import Sessions


class Profile:
    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        throttle: Throttle,
        mailer: Mailer,
        letters: Letters,
        sessions: Sessions,
        signup: Signup,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._throttle = throttle
        self._mailer = mailer
        self._letters = letters
        self._sessions = sessions
        self._signup = signup

    async def rename(self, principal: Principal, name: str) -> None:
        async with self._database.system() as conn:
            account = await _held(conn, principal)
            if account.name == name:
                return
            await repository.rename(conn, account.id, name)
            before, after = {"name": account.name}, {"name": name}
            await personal.record(
                conn, principal.identity, "user.updated", account.id, before={**before}, after={**after}
            )

    async def change_password(self, principal: Principal, current: SecretStr, new: SecretStr) -> None:
        """Every other login ends."""
        before = await self.prove_password(principal, current)
        password_rules.check(new, about=(before.email or "", before.name))
        async with self._passwords.turn():
            password_hash = await self._passwords.hashed(new)
        async with self._database.system() as conn:
            account = await _held(conn, principal)
            if account.password_hash != before.password_hash:
                raise PasswordWrong  # somebody else was faster: what was shown is no longer the current one
            await repository.set_password(conn, account.id, password_hash)
            await tokens.use_up_all(conn, user=account.id)
            await self._sessions.revoke_all(conn, account.id, because="password-change", keep=principal.credential)
            if account.email is not None:
                await self._mailer.send(conn, self._letters.password_changed(account.email, account.name))
            await personal.record(conn, principal.identity, "user.password-changed", account.id)

    async def prove_password(self, principal: Principal, password: SecretStr) -> Account:
        """That it is still the person who logged in, and not who found their screen. Raises PasswordWrong."""
        bucket = self._throttle.of_person(principal.user or "")
        await self._throttle.take(bucket)
        async with self._database.system() as conn:
            account = await _held(conn, principal)
        async with self._passwords.turn():
            checked = await self._passwords.check(password, account.password_hash)
        if not checked.right:
            raise PasswordWrong
        await self._throttle.give_back(bucket)
        return account

    async def claim_login(self, principal: Principal, email: str, password: SecretStr) -> None:
        """The first owner, who was made without an address, is to get one: when it is proved, they can log in."""
        if principal.user is None or ALL_PERMISSIONS not in principal.identity.permissions:
            raise NotTheOwnersKey
        async with self._database.system() as conn:
            account = await _held(conn, principal)
        if account.email is not None:
            raise LoginExists
        password_rules.check(password, about=(email, account.name))
        await self._throttle.take(self._throttle.of_person(account.id))
        async with self._passwords.turn():
            password_hash = await self._passwords.hashed(password)
        async with self._database.system() as conn:
            account = await _held(conn, principal)
            if account.email is not None:
                raise LoginExists
            await self._signup.claim(conn, account, email, password_hash)
            told = {"email": email}
            await personal.record(conn, principal.identity, "user.login-claimed", account.id, after={**told})


async def _held(conn: AsyncConnection[DictRow], principal: Principal) -> Account:
    account = await repository.held(conn, principal.user or "")
    if account is None:
        raise NotFound("This person was removed a moment ago.")
    return account
