"""Whether a second factor is right, and keeping its secret."""

from __future__ import annotations

import time
from collections.abc import Callable

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_gateway.second_factor import recovery_codes, repository, totp
from crewmesh_gateway.second_factor.errors import CodeWrong, SecondFactorOff, SecondFactorOn
from crewmesh_gateway.signing_keys.master import MasterKey

_PURPOSE = "second factors"


class SecondFactor:
    """All within the caller's transaction of the system."""

    def __init__(self, master: MasterKey, *, now: Callable[[], float] = time.time) -> None:
        self._master = master
        self._now = now

    async def prove(self, conn: AsyncConnection[DictRow], user: str, code: str) -> bool:
        """Whether it is a code of the app or a recovery code that was not used before; now it is."""
        digest = recovery_codes.digest(code)
        if digest is not None:
            return await repository.use_recovery_code(conn, user, digest)
        factor = await repository.held(conn, user)
        return factor.confirmed and await self._is_next(conn, user, factor.sealed, code)

    async def begin(self, conn: AsyncConnection[DictRow], user: str) -> bytes:
        """A new secret; it counts for nothing until a code of it was shown."""
        if (await repository.held(conn, user)).confirmed:
            raise SecondFactorOn
        secret = totp.new_secret()
        await repository.keep_secret(conn, user, self._master.seal(_PURPOSE, secret, about=user))
        return secret

    async def confirm(self, conn: AsyncConnection[DictRow], user: str, code: str) -> list[str]:
        """From now on it is asked for. Gives the recovery codes, which are shown this once."""
        factor = await repository.held(conn, user)
        if factor.confirmed:
            raise SecondFactorOn
        if factor.sealed is None:
            raise SecondFactorOff
        if not await self._is_next(conn, user, factor.sealed, code):
            raise CodeWrong
        await repository.confirm(conn, user)
        return await self._new_codes(conn, user)

    async def renew_codes(self, conn: AsyncConnection[DictRow], user: str, code: str) -> list[str]:
        await self._must_prove(conn, user, code)
        return await self._new_codes(conn, user)

    async def remove(self, conn: AsyncConnection[DictRow], user: str, code: str) -> None:
        await self._must_prove(conn, user, code)
        await repository.remove(conn, user)

    async def _must_prove(self, conn: AsyncConnection[DictRow], user: str, code: str) -> None:
        if not (await repository.held(conn, user)).confirmed:
            raise SecondFactorOff
        if not await self.prove(conn, user, code):
            raise CodeWrong

    async def _is_next(self, conn: AsyncConnection[DictRow], user: str, sealed: bytes | None, code: str) -> bool:
        if sealed is None:
            return False
        secret = self._master.open(_PURPOSE, sealed, about=user)
        step = totp.step_of(secret, "".join(code.split()), now=self._now())
        return step is not None and await repository.use_step(conn, user, step)

    async def _new_codes(self, conn: AsyncConnection[DictRow], user: str) -> list[str]:
        codes = recovery_codes.new_codes()
        digests = [digest for each in codes if (digest := recovery_codes.digest(each)) is not None]
        await repository.replace_recovery_codes(conn, user, digests)
        return codes
