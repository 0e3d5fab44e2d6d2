"""Short-term memory: the last things an agent did, for some hours, in the state store. It may be lost without harm."""

from __future__ import annotations

from crewmesh_kit.dapr.stores import StateStore
from pydantic import TypeAdapter

from crewmesh_agent_crew.memory.models import Note

_SECONDS = 6 * 3_600
_MOST = 6
_NOTES: TypeAdapter[tuple[Note, ...]] = TypeAdapter(tuple[Note, ...])


class Notes:
    def __init__(self, state: StateStore) -> None:
        self._state = state

    async def of(self, organization: str, about: str, agent: str) -> tuple[Note, ...]:
        """The oldest first."""
        found = await self._state.get(_key(organization, about, agent))
        return () if found is None else _NOTES.validate_json(found)

    async def add(self, organization: str, about: str, agent: str, note: Note) -> None:
        """Two at once may lose one of two notes; these are aids, and no record."""
        kept = (*await self.of(organization, about, agent), note)[-_MOST:]
        await self._state.set(_key(organization, about, agent), _NOTES.dump_json(kept), ttl_seconds=_SECONDS)


def _key(organization: str, about: str, agent: str) -> str:
    return f"notes/{organization}/{about}/{agent}"
