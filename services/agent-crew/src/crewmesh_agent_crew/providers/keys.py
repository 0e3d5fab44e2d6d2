"""The keys of accounts at rest: sealed with the organization's data key, each for its account alone."""

from __future__ import annotations

from datetime import UTC, datetime

from crewmesh_kit.logs import get_logger
from crewmesh_kit.sealing import DataKey, MasterKeys, UnsealableError
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_agent_crew.providers.repository import AccountRepository, KeptAccount, SealedKey

# Of a key shorter than this nothing is shown: its end would be too much of it.
_SHORTEST_SHOWN = 16
_SHOWN = 4

log = get_logger(__name__)


class Keys:
    def __init__(self, master: MasterKeys) -> None:
        self._master = master

    async def seal(self, connection: AsyncConnection[DictRow], organization: str, account: str, key: str) -> SealedKey:
        """``account`` is its id: names are given again, ids are not."""
        data_key = await self._data_key(connection, organization)
        if data_key is None:
            _, wrapped = self._master.new_data_key(organization)
            kept = await AccountRepository(connection).add_data_key(organization, wrapped)
            data_key, _ = self._master.data_key(kept, organization)
        shown = key[-_SHOWN:] if len(key) >= _SHORTEST_SHOWN else ""
        return SealedKey(sealed=data_key.seal(key, account), ends_in=f"…{shown}", set_at=datetime.now(UTC))

    async def opened(
        self, connection: AsyncConnection[DictRow], organization: str, accounts: list[KeptAccount]
    ) -> dict[str, str]:
        """The keys by the names of their accounts. One that does not open is left out, so that the others work."""
        sealed = [(account, account.key) for account in accounts if account.key is not None]
        if not sealed:
            return {}
        keys: dict[str, str] = {}
        try:
            data_key = await self._data_key(connection, organization)
            for account, key in sealed:
                if data_key is not None:
                    keys[account.name] = data_key.open(key.sealed, account.id)
        except UnsealableError as error:
            log.error("keys of accounts at providers cannot be unsealed", organization=organization, reason=str(error))
        return keys

    async def _data_key(self, connection: AsyncConnection[DictRow], organization: str) -> DataKey | None:
        repository = AccountRepository(connection)
        wrapped = await repository.data_key()
        if wrapped is None:
            return None
        data_key, anew = self._master.data_key(wrapped, organization)
        if anew is not None:
            await repository.wrap_anew(anew)
        return data_key
