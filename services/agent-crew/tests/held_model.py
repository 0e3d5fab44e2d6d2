"""A model that answers when it is told to: what has to happen while it speaks happens then, however slow the machine.

::

    model.gate.clear()      # who asks is heard, and told nothing yet
    model.ending.clear()    # what is said is said, but for the end of it
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from aiohttp import web
from crewmesh_testkit.scripted_model import ScriptedModel

_GOES_ON = b'"finish_reason": null'


def _open() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


@dataclass
class HeldModel(ScriptedModel):
    """For answers that are streamed, as those of agents are. Both gates are open at first."""

    gate: asyncio.Event = field(default_factory=_open)
    ending: asyncio.Event = field(default_factory=_open)

    async def _in_time(self, response: web.StreamResponse, frames: Sequence[bytes]) -> None:
        await self.gate.wait()
        end = next((at for at, frame in enumerate(frames) if _GOES_ON not in frame), len(frames))
        await super()._in_time(response, frames[:end])
        await self.ending.wait()
        await super()._in_time(response, frames[end:])
