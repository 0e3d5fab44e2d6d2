"""Signing up: an account comes to be when its address is proved, and not before.

Until then there is a token in a mail, with all that was asked for behind it. So nobody can occupy an address that is
not theirs, make organizations by the thousand, or learn from the answer whether an address has an account. Two who sign
up with one address have a token each; what counts is the name and the password of the one that is used, and only who
knows that password can use it: the owner of an address may well follow the link of a stranger's wish.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.db.database import Database
from crewmesh_kit.ids import new_id
from crewmesh_kit.origin import Origin
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from pydantic import SecretStr

from crewmesh_gateway.accounts import one_time_tokens as tokens
from crewmesh_gateway.accounts import password_rules, repository
from crewmesh_gateway.accounts.errors import AddressTaken, LinkExpired, NotWhoSignedUp
from crewmesh_gateway.accounts.joining import Joining
from crewmesh_gateway.accounts.later import AccountRequest, Later
from crewmesh_gateway.accounts.letters import Letters
from crewmesh_gateway.accounts.one_time_tokens import StoredToken
from crewmesh_gateway.accounts.passwords import Passwords
from crewmesh_gateway.accounts.repository import Account
from crewmesh_gateway.accounts.sign_in import SignIn
from crewmesh_gateway.accounts.throttle import Throttle
from crewmesh_gateway.audit import personal
from crewmesh_gateway.mail.service import Mailer
from crewmesh_gateway.sessions.models import Begun
from crewmesh_gateway.settings import AccountSettings
from crewmesh_gateway.signing_keys.master import MasterKey

_AN_HOUR = 3600.0
# Of one address, by whoever.
_MOST_WAITING = 3
_AGAIN = "POST /v1/auth/verify-email/resend"
_PURPOSE = "invitations of those who sign up"


@dataclass(frozen=True, slots=True)
class Wish:
    """What somebody wants who signs up."""

    email: str
    password: SecretStr
    name: str
    organization: str
    invitation: str | None


class Signup:
    def __init__(
        self,
        database: Database,
        passwords: Passwords,
        throttle: Throttle,
        later: Later,
        mailer: Mailer,
        letters: Letters,
        joining: Joining,
        sign_in: SignIn,
        master: MasterKey,
        settings: AccountSettings,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._throttle = throttle
        self._later = later
        self._mailer = mailer
        self._letters = letters
        self._joining = joining
        self._sign_in = sign_in
        self._master = master
        self._seconds = settings.verify_hours * _AN_HOUR

    async def ask(self, wish: Wish, origin: Origin) -> None:
        await self._throttle.take(self._throttle.of_visitor(origin.address))
        await self._joining.check(wish.email, wish.invitation)
        password_rules.check(wish.password, about=(wish.email, wish.name, wish.organization))
        async with self._passwords.turn():
            password_hash = await self._passwords.hashed(wish.password)
        detail: JsonObject = {
            "name": wish.name,
            "organization": wish.organization,
            "password_hash": password_hash,
            "invitation": self._sealed(wish),
        }
        await self._later.add("signup", wish.email, origin, detail)

    async def ask_again(self, email: str, origin: Origin) -> None:
        await self._throttle.take(self._throttle.of_visitor(origin.address))
        await self._later.add("resend", email, origin)

    async def asked(self, conn: AsyncConnection[DictRow], request: AccountRequest) -> None:
        """Later: a mail goes to the address, whichever it is."""
        if not await self._throttle.room_in(conn, self._throttle.of_mails(request.email)):
            return
        if await repository.by_email(conn, request.email) is not None:
            await self._mailer.send(conn, self._letters.have_account(request.email))
            return
        await self._send_token(conn, request.email, request.detail)
        await tokens.keep_newest(conn, "signup", request.email, most=_MOST_WAITING)

    async def asked_again(self, conn: AsyncConnection[DictRow], request: AccountRequest) -> None:
        """Later: a new token takes the place of the last one, if there is one."""
        waiting = await tokens.newest(conn, request.email, "signup", "claim")
        if waiting is None or waiting.email is None:
            return
        if not await self._throttle.room_in(conn, self._throttle.of_mails(request.email)):
            return
        await tokens.use_up(conn, waiting)
        text, _ = await tokens.make(
            conn,
            waiting.purpose,
            seconds=self._seconds,
            user=waiting.user,
            email=waiting.email,
            detail=waiting.detail,
        )
        await self._mailer.send(conn, self._letters.verify(waiting.email, text))

    async def verify(self, text: str, password: SecretStr, origin: Origin) -> Begun:
        """The address is proved: the account exists from now on, and a login begins."""
        async with self._passwords.turn():
            checked = await self._asked_by(text, password)
        async with self._database.system() as conn:
            found = await tokens.held(conn, text, "signup", "claim")
            if found is None or found[0].email is None or found[0].digest != checked.digest:
                raise LinkExpired(_AGAIN)
            token, claiming = found
            user = await (self._claimed(conn, token, claiming) if claiming else self._new(conn, token))
            account = await repository.held(conn, user)
            if account is None:
                raise LinkExpired(_AGAIN)
            await tokens.use_up_all(conn, user=user, email=token.email)
            return await self._sign_in.begin(conn, account, origin)

    async def _asked_by(self, text: str, password: SecretStr) -> StoredToken:
        """The token, if it is shown by whoever chose this password. What is behind a token never changes."""
        async with self._database.system() as conn:
            token = await tokens.seen(conn, text, "signup", "claim")
        if token is None:
            raise LinkExpired(_AGAIN)
        if not (await self._passwords.check(password, str(token.detail["password_hash"]))).right:
            raise NotWhoSignedUp
        return token

    async def claim(self, conn: AsyncConnection[DictRow], account: Account, email: str, password_hash: str) -> None:
        """Somebody who is there, without a login, is to get one when the address is proved."""
        await self._send_token(conn, email, {"password_hash": password_hash}, user=account.id)
        await tokens.keep_newest(conn, "claim", email, most=1)

    async def _send_token(
        self, conn: AsyncConnection[DictRow], email: str, detail: JsonObject, *, user: str | None = None
    ) -> None:
        purpose = "claim" if user else "signup"
        text, _ = await tokens.make(conn, purpose, seconds=self._seconds, user=user, email=email, detail=detail)
        await self._mailer.send(conn, self._letters.verify(email, text))

    async def _new(self, conn: AsyncConnection[DictRow], token: StoredToken) -> str:
        user, name, email = new_id("usr"), str(token.detail["name"]), token.email or ""
        password_hash = str(token.detail["password_hash"])
        if not await repository.add(conn, user, name=name, email=email, password_hash=password_hash):
            raise AddressTaken
        organization = await self._joining.first(
            conn, user, organization=str(token.detail["organization"]), invitation=self._opened(token, email)
        )
        told: JsonObject = {"name": name, "email": email}
        await personal.record(conn, personal.person(user, organization), "user.created", user, after=told)
        return user

    async def _claimed(self, conn: AsyncConnection[DictRow], token: StoredToken, account: Account) -> str:
        email, password_hash = token.email or "", str(token.detail["password_hash"])
        if account.email is not None:
            raise LinkExpired(_AGAIN)
        if await repository.by_email(conn, email) is not None:
            raise AddressTaken
        await repository.give_login(conn, account.id, email=email, password_hash=password_hash)
        return account.id

    def _sealed(self, wish: Wish) -> str | None:
        """An invitation lets somebody in, so it is not stored to be read."""
        if wish.invitation is None:
            return None
        return base64.b64encode(self._master.seal(_PURPOSE, wish.invitation.encode(), about=wish.email)).decode()

    def _opened(self, token: StoredToken, email: str) -> str | None:
        kept = token.detail["invitation"]
        if not isinstance(kept, str):
            return None
        return self._master.open(_PURPOSE, base64.b64decode(kept), about=email).decode()
