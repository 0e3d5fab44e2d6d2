"""Messages between the service and a worker: four bytes that tell the length, then so many bytes of JSON."""

from __future__ import annotations

import struct
from asyncio import StreamReader
from typing import BinaryIO

_LENGTH = struct.Struct(">I")


class FrameTooLong(Exception):  # noqa: N818  what it is, not that it is one
    """The other side announces more than is read."""


def frame(message: bytes) -> bytes:
    return _LENGTH.pack(len(message)) + message


def read_frame(stream: BinaryIO) -> bytes | None:
    """The next message; None when the other side is gone."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    message = stream.read(length)
    return message if len(message) == length else None


async def receive_frame(stream: StreamReader, *, most: int) -> bytes:
    """The next message. Raises IncompleteReadError when the other side is gone."""
    (length,) = _LENGTH.unpack(await stream.readexactly(_LENGTH.size))
    if length > most:
        raise FrameTooLong(f"{length} bytes were announced, {most} are read")
    return await stream.readexactly(length)
