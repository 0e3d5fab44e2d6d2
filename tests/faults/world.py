"""The world outside as a trial sees it: who receives effects, and who is asked to decide."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager, suppress
from itertools import pairwise

from crewmesh_testkit.mesh import JsonDict, MeshClient
from crewmesh_testkit.receiver import Receiver

_LOOK_EVERY_SECONDS = 0.5


class World:
    """Receives effects, slowly and at random; remembers when each came."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self.arrivals: list[float] = []
        self.receiver = Receiver(delay=self._arrived)

    @property
    def effects(self) -> int:
        return len(self.arrivals)

    def has(self, effect: str) -> bool:
        return any(effect_of(received.key) == effect for received in self.receiver.requests)

    def counts(self) -> Counter[str]:
        """How often each effect came."""
        return Counter(effect_of(received.key) for received in self.receiver.requests)

    def longest_quiet(self, since: float) -> float:
        """How long nothing came, at most, from then on until the last effect."""
        times = [since, *(arrived for arrived in self.arrivals if arrived > since)]
        return max((after - before for before, after in pairwise(times)), default=0.0)

    def _arrived(self) -> float:
        self.arrivals.append(now())
        return self._dice.uniform(0.02, 0.3)


def effect_of(key: str | None) -> str:
    """An attempt that is known not to have happened has spent its key; the next one has another, by a number behind."""
    return (key or "").partition("#")[0]


def now() -> float:
    return asyncio.get_running_loop().time()


@asynccontextmanager
async def deciding(client: MeshClient, world: World, runs: Collection[str]) -> AsyncGenerator[None]:
    """Somebody who says yes to whatever these runs ask, and looks before saying whether an effect happened."""

    async def decide() -> None:
        while True:
            listed = await client.try_get("/v1/approvals?status=open&limit=200")
            if listed is not None and listed.status == 200:
                for item in listed.body["items"]:
                    if item["run"] in runs:
                        await client.try_post(f"/v1/approvals/{item['id']}/decisions", _decision(item, world))
            await asyncio.sleep(_LOOK_EVERY_SECONDS)

    task = asyncio.create_task(decide())
    try:
        yield
    finally:
        # What went wrong in there ends the trial as well.
        if not task.done():
            task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _decision(item: JsonDict, world: World) -> JsonDict:
    if item["kind"] != "outcome":
        return {"approved": True}
    if world.has(f"{item['run']}/{item['path']}"):
        return {"happened": True, "output": {"status": 200, "headers": {}, "body": None}}
    return {"happened": False}
