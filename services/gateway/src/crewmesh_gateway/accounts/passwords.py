"""Hashing passwords: slow on purpose, so never on the event loop, only some at once, and not for an endless queue.

Whoever shows or sets a password has a turn for as long as that takes, with all that is looked up and written around it.
So a crowd that logs in takes some threads and some connections, and leaves the others to everybody else.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from pydantic import SecretStr

from crewmesh_gateway.accounts.errors import PasswordsBusy
from crewmesh_gateway.settings import PasswordSettings

# While one's password is hashed, others' accounts are looked up.
_TURNS_FOR_A_THREAD = 3


@dataclass(frozen=True, slots=True)
class Checked:
    right: bool
    # The same password hashed as the settings are now, where it was hashed otherwise.
    better: str | None = None


class Passwords:
    """Open it with ``async with Passwords.open(settings)``; hash and check within a ``turn()``."""

    def __init__(self, settings: PasswordSettings, threads: ThreadPoolExecutor) -> None:
        self._hasher = PasswordHash(
            (Argon2Hasher(time_cost=settings.passes, memory_cost=settings.memory_kib, parallelism=1),)
        )
        self._threads = threads
        self._turns = asyncio.Semaphore(settings.at_once * _TURNS_FOR_A_THREAD)
        self._most_waiting = settings.waiting
        self._waiting = 0
        # Nobody's: whoever has no password is checked against it, so that it takes as long.
        self._nobodys = self._hasher.hash(secrets.token_urlsafe())

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: PasswordSettings) -> AsyncGenerator[Self]:
        with ThreadPoolExecutor(settings.at_once, thread_name_prefix="passwords") as threads:
            yield cls(settings, threads)

    @asynccontextmanager
    async def turn(self) -> AsyncGenerator[None]:
        """One of the few at once. Raises PasswordsBusy when too many wait already."""
        if self._turns.locked() and self._waiting >= self._most_waiting:
            raise PasswordsBusy
        self._waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._turns.release()

    async def hashed(self, password: SecretStr) -> str:
        text = password.get_secret_value()
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._hasher.hash, text)

    async def check(self, password: SecretStr, stored: str | None) -> Checked:
        """Against what is stored of it, or against nobody's in the same time."""
        text, against = password.get_secret_value(), stored or self._nobodys
        loop = asyncio.get_running_loop()
        right, better = await loop.run_in_executor(self._threads, self._hasher.verify_and_update, text, against)
        return Checked(right and stored is not None, better)
