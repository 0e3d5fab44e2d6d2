"""Where replicas write what their agents do: a hash per organization, whose entries run out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, cast

from crewmesh_agent_crew.live.streams import Redis
from crewmesh_agent_crew.statuses.models import AtWork

_KEPT_SECONDS = 2 * 3600


class _Pipeline(Protocol):
    def hset(self, name: str, key: str, value: str) -> object: ...
    def hdel(self, name: str, *keys: str) -> object: ...
    def expire(self, name: str, time: int) -> object: ...
    async def execute(self) -> object: ...


class _Hashes(Protocol):
    def pipeline(self, transaction: bool) -> _Pipeline: ...
    async def hgetall(self, name: str) -> Mapping[str, str]: ...
    async def hdel(self, name: str, *keys: str) -> int: ...


class Board:
    def __init__(self, client: Redis) -> None:
        self._client = cast(_Hashes, client)

    async def write(self, changes: Iterable[tuple[str, str, AtWork | None]]) -> None:
        """Of (organization, crew run): what its agents do; none: nothing any more."""
        pipeline = self._client.pipeline(transaction=False)
        for organization, crew_run, at_work in changes:
            if at_work is None:
                pipeline.hdel(_place(organization), crew_run)
            else:
                pipeline.hset(_place(organization), crew_run, at_work.model_dump_json())
                pipeline.expire(_place(organization), _KEPT_SECONDS)
        await pipeline.execute()

    async def read(self, organization: str) -> list[AtWork]:
        found = await self._client.hgetall(_place(organization))
        return [AtWork.model_validate_json(each) for each in found.values()]

    async def forget(self, organization: str, crew_runs: Iterable[str]) -> None:
        await self._client.hdel(_place(organization), *crew_runs)


def _place(organization: str) -> str:
    return f"crewmesh:agent-crew:statuses:{organization}"
