"""Lines and server-sent events out of the pieces of a body, however they were cut."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from crewmesh_agent_crew.providers.draft import MOST_CHARACTERS, too_large

# The longest thing in one line is a whole answer as JSON, where a character may take six bytes.
_LONGEST_LINE = 2 * MOST_CHARACTERS


@dataclass(frozen=True, slots=True)
class Event:
    data: str
    name: str = "message"


async def lines(pieces: AsyncIterator[bytes]) -> AsyncIterator[str]:
    """Complete lines. What the end of the body cut in the middle is left out: the answer before it is judged."""
    rest = bytearray()
    async for piece in pieces:
        rest += piece
        if len(rest) > _LONGEST_LINE:
            raise too_large(_LONGEST_LINE)
        if b"\n" not in piece:
            continue  # nothing is copied: a line may come in a million pieces
        *whole, rest = rest.split(b"\n")
        for line in whole:
            yield line.removesuffix(b"\r").decode("utf-8", "replace")


async def events(pieces: AsyncIterator[bytes]) -> AsyncIterator[Event]:
    """Server-sent events. Comments and fields that no model server uses are passed over."""
    name, data = "message", list[str]()
    async for line in lines(pieces):
        if not line:
            if data:
                yield Event("\n".join(data), name)
            name, data = "message", []
            continue
        label, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if label == "data":
            data.append(value)
        elif label == "event":
            name = value
    if data:
        yield Event("\n".join(data), name)
