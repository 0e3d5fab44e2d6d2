"""Logging in: address and password, then the second factor where there is one.

Wrong address, wrong password and an address that is not proved yet are told apart by nothing: not by the text, and not
by the time, for each costs one look-up, one hash and one row.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.db.database import Database
from crewmesh_kit.origin import Origin
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from pydantic import SecretStr

from crewmesh_gateway.accounts import one_time_tokens as tokens
from crewmesh_gateway.accounts import repository
from crewmesh_gateway.accounts.errors import CodeRefused, LoginRefused
from crewmesh_gateway.accounts.later import AccountRequest, Later
from crewmesh_gateway.accounts.passwords import Checked, Passwords
from crewmesh_gateway.accounts.repository import Account
from crewmesh_gateway.accounts.sign_in import SignIn
from crewmesh_gateway.accounts.throttle import Throttle
from crewmesh_gateway.audit import personal
from crewmesh_gateway.second_factor.service import SecondFactor
from crewmesh_gateway.sessions.models import Begun
from crewmesh_gateway.sessions.repository import SessionRepository
from crewmesh_gateway.settings import AccountSettings

_MOST_TRIES = 5


@dataclass(frozen=True, slots=True)
class Credentials:
    email: str
    password: SecretStr
    # Where to work first; and an invitation to accept on the way in.
    organization: str | None = None
    invitation: str | None = None


@dataclass(frozen=True, slots=True)
class HalfWay:
    """The password was right; the second factor is wanted."""

    token: str
    expires_at: datetime


class Login:
    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        throttle: Throttle,
        later: Later,
        second_factor: SecondFactor,
        sign_in: SignIn,
        memberships: SessionRepository,
        settings: AccountSettings,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._throttle = throttle
        self._later = later
        self._second_factor = second_factor
        self._sign_in = sign_in
        self._memberships = memberships
        self._half_way_seconds = settings.second_factor_minutes * 60

    async def log_in(self, shown: Credentials, origin: Origin) -> Begun | HalfWay:
        buckets = self._throttle.of_login(shown.email, origin.address)
        async with self._passwords.turn():
            await self._throttle.admit(buckets)
            account, stored = await self._known(shown.email)
            checked = await self._passwords.check(shown.password, stored)
            if account is None or not checked.right:
                await self._later.add("resend" if checked.right else "failed", shown.email, origin)
                raise LoginRefused
            await self._throttle.succeeded(buckets)
            return await self._go_on(account, checked, shown, origin)

    async def show_code(self, token: str, code: str, invitation: str | None, origin: Origin) -> Begun:
        """The second half: a code of the app, or a recovery code."""
        async with self._database.system() as conn:
            half_way, account = await tokens.held(conn, token, "second-factor") or (None, None)
            if half_way is None or account is None or half_way.tries >= _MOST_TRIES:
                raise CodeRefused
            bucket = self._throttle.of_person(account.id)
            await self._throttle.admit_in(conn, bucket)
            if await self._second_factor.prove(conn, account.id, code):
                await tokens.use_up(conn, half_way)
                organization = _text(half_way.detail["organization"])
                return await self._sign_in.begin(
                    conn, account, origin, organization=organization, invitation=invitation
                )
            await tokens.count_try(conn, half_way)
            await self._throttle.fill_in(conn, bucket)
        # Only now, when the try is counted for good.
        await self._later.add("failed", account.email or "", origin, {"with": "second factor"})
        raise CodeRefused

    async def failed(self, conn: AsyncConnection[DictRow], request: AccountRequest) -> None:
        """Later: whose account it was learns of it from the audit log."""
        account = await repository.by_email(conn, request.email)
        if account is None:
            return
        organization = await self._memberships.organization_of(conn, account.id, account.last_organization)
        told: JsonObject = {"with": request.detail.get("with", "password")}
        actor = personal.person(account.id, organization)
        await personal.record(conn, actor, "user.login-failed", account.id, after=told)

    async def _known(self, email: str) -> tuple[Account | None, str | None]:
        """The account and its password's hash; without an account the hash of whoever is about to sign up."""
        async with self._database.system() as conn:
            account = await repository.by_email(conn, email)
            waiting = await tokens.newest(conn, email, "signup", "claim")
        if account is not None:
            return account, account.password_hash
        return None, str(waiting.detail["password_hash"]) if waiting else None

    async def _go_on(self, account: Account, checked: Checked, shown: Credentials, origin: Origin) -> Begun | HalfWay:
        async with self._database.system() as conn:
            held = await repository.held(conn, account.id)
            if held is None or held.password_hash != account.password_hash:
                raise LoginRefused  # the password was changed while this one was checked
            if checked.better is not None:
                await repository.keep_better_hash(conn, held.id, checked.better)
            if held.second_factor:
                return await self._half_way(conn, held, shown)
            return await self._sign_in.begin(
                conn, held, origin, organization=shown.organization, invitation=shown.invitation
            )

    async def _half_way(self, conn: AsyncConnection[DictRow], account: Account, shown: Credentials) -> HalfWay:
        detail: JsonObject = {"organization": shown.organization}
        seconds = self._half_way_seconds
        text, expires = await tokens.make(conn, "second-factor", seconds=seconds, user=account.id, detail=detail)
        return HalfWay(text, expires)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
