"""Slows guessing down, and nobody else.

Failures fill buckets that run empty with time: one for each address that requests come from, one for each account, one
for each account from each address. What is asked for fills them before it is known to be wrong and is taken out again
when it was right, so that a thousand guesses at once are counted like a thousand guesses one after another.

- An address whose bucket is full waits. So does an address for an account that it failed for too often.
- While an account's bucket is full, an address waits after its first failure: who guesses from many addresses has one
  guess from each, and who has the right password gets in at once.
- From where somebody logged in before, only their own failures there count: neither their neighbours nor strangers who
  guess at their account can keep them out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from crewmesh_kit.db.database import Database
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_gateway.accounts import throttle_repository as repository
from crewmesh_gateway.accounts.errors import TooManyAttempts
from crewmesh_gateway.accounts.throttle_repository import Mark
from crewmesh_gateway.limits.neighbourhoods import neighbourhood
from crewmesh_gateway.settings import AccountSettings

# One address often stands for a house full of people.
_ADDRESS_SHARE = 5
# A code has six digits: whoever has the password must not have enough tries to find it.
_PERSONS_SHARE = 5
_TRUSTED_DAYS = 30
_AN_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Bucket:
    """Holds ``size``, and loses ``per_second``."""

    mark: bytes
    size: float
    per_second: float

    def level(self, mark: Mark) -> float:
        return max(0.0, mark.level - mark.age * self.per_second)

    def wait(self, mark: Mark, *, size: float | None = None) -> float:
        """Seconds until one more has room."""
        return max(0.0, self.level(mark) + 1 - (size or self.size)) / self.per_second


@dataclass(frozen=True, slots=True)
class LoginBuckets:
    """Of one account, from one address."""

    address: Bucket
    account: Bucket
    both: Bucket

    @property
    def all(self) -> tuple[Bucket, ...]:
        return self.address, self.account, self.both

    def wait(self, marks: Mapping[bytes, Mark]) -> float:
        address, account, both = (marks[each.mark] for each in self.all)
        if both.trusted:
            return self.both.wait(both)
        # The account's bucket is others' business for who has not failed here.
        for_account = min(self.account.wait(account), self.both.wait(both, size=1))
        return max(self.address.wait(address), self.both.wait(both), for_account)


class Throttle:
    def __init__(self, database: Database, settings: AccountSettings) -> None:
        self._database = database
        self._settings = settings

    def of_login(self, email: str, address: str | None) -> LoginBuckets:
        size, rate = float(self._settings.failures), self._settings.failures_per_hour / _AN_HOUR
        network, account = neighbourhood(address), email.lower()
        return LoginBuckets(
            Bucket(_mark("address", network), size * _ADDRESS_SHARE, rate * _ADDRESS_SHARE),
            Bucket(_mark("account", account), size, rate),
            Bucket(_mark("account from address", account, network), size, rate),
        )

    def of_person(self, user: str) -> Bucket:
        """What somebody who is in, or half-way in, may still get wrong: a password asked again, a code."""
        size, rate = float(self._settings.failures), self._settings.failures_per_hour / _AN_HOUR
        return Bucket(_mark("person", user), size, rate / _PERSONS_SHARE)

    def of_visitor(self, address: str | None) -> Bucket:
        """What strangers may ask for: each makes us hash a password or send a mail."""
        size, rate = float(self._settings.failures), self._settings.failures_per_hour / _AN_HOUR
        return Bucket(_mark("visitor", neighbourhood(address)), size * _ADDRESS_SHARE, rate * _ADDRESS_SHARE)

    def of_mails(self, email: str) -> Bucket:
        """Mails that strangers can have sent to one address."""
        hourly = self._settings.mails_per_hour
        return Bucket(_mark("mails", email.lower()), max(1.0, hourly), hourly / _AN_HOUR)

    def of_invitations(self, organization: str, hourly: float) -> Bucket:
        """Mails that an organization can have sent, to whomever: they carry what its members write."""
        return Bucket(_mark("invitations", organization), max(1.0, hourly), hourly / _AN_HOUR)

    async def admit(self, login: LoginBuckets) -> None:
        """Count an attempt as a failure until it is known to be none. Raises TooManyAttempts."""
        async with self._database.system() as conn:
            marks = await repository.held(conn, [each.mark for each in login.all])
            if (wait := login.wait(marks)) > 0:
                raise TooManyAttempts(wait)
            full = {each.mark: min(each.size, each.level(marks[each.mark]) + 1) for each in login.all}
            await repository.write(conn, full)

    async def succeeded(self, login: LoginBuckets) -> None:
        """It was none: take it out again, and remember that the right one comes from there."""
        async with self._database.system() as conn:
            shared = (login.address, login.account)
            marks = await repository.held(conn, [each.mark for each in login.all])
            await repository.write(conn, {each.mark: max(0.0, each.level(marks[each.mark]) - 1) for each in shared})
            await repository.trust(conn, login.both.mark, days=_TRUSTED_DAYS)

    async def proved(self, user: str, email: str, address: str | None) -> None:
        """Somebody proved in another way who they are: what was wrong before is forgotten, for them and there."""
        both, person = self.of_login(email, address).both, self.of_person(user)
        async with self._database.system() as conn:
            await repository.held(conn, [both.mark, person.mark])
            await repository.write(conn, {both.mark: 0.0, person.mark: 0.0})
            await repository.trust(conn, both.mark, days=_TRUSTED_DAYS)

    async def take(self, bucket: Bucket) -> None:
        """Put one in. Raises TooManyAttempts when there is no room."""
        async with self._database.system() as conn:
            await self.admit_in(conn, bucket)
            await self.fill_in(conn, bucket)

    async def give_back(self, bucket: Bucket) -> None:
        async with self._database.system() as conn:
            mark = (await repository.held(conn, [bucket.mark]))[bucket.mark]
            await repository.write(conn, {bucket.mark: max(0.0, bucket.level(mark) - 1)})

    async def admit_in(self, conn: AsyncConnection[DictRow], bucket: Bucket) -> None:
        """Raises TooManyAttempts when there is no room. Nobody else gets some until the transaction ends."""
        mark = (await repository.held(conn, [bucket.mark]))[bucket.mark]
        if (wait := bucket.wait(mark)) > 0:
            raise TooManyAttempts(wait)

    async def fill_in(self, conn: AsyncConnection[DictRow], bucket: Bucket) -> None:
        mark = (await repository.held(conn, [bucket.mark]))[bucket.mark]
        await repository.write(conn, {bucket.mark: bucket.level(mark) + 1})

    async def room_in(self, conn: AsyncConnection[DictRow], bucket: Bucket) -> bool:
        """Whether there was room for one more; then it is in."""
        try:
            await self.admit_in(conn, bucket)
        except TooManyAttempts:
            return False
        await self.fill_in(conn, bucket)
        return True


def _mark(kind: str, *parts: str) -> bytes:
    return hashlib.sha256("\0".join((kind, *parts)).encode()).digest()
