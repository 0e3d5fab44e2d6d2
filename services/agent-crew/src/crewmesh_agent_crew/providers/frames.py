"""AWS event streams: binary frames of headers and a payload, each with checksums of its own.

::

    | length of all: 4 | length of headers: 4 | crc of these: 4 | headers | payload | crc of all before: 4 |
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from crewmesh_agent_crew.providers.protocol import ProviderError

_PRELUDE = struct.Struct(">II")
_CRC = struct.Struct(">I")
_LENGTH = struct.Struct(">H")
_BEFORE_HEADERS = _PRELUDE.size + _CRC.size
_LONGEST_FRAME = 16 * 1024 * 1024
_TEXT = 7
# How many bytes the value of a header of each type takes: true, false, numbers, then bytes and text with a length of
# their own, a timestamp, a UUID.
_SIZES: Mapping[int, int] = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}


@dataclass(frozen=True, slots=True)
class Frame:
    headers: Mapping[str, str]
    payload: bytes


async def frames(pieces: AsyncIterator[bytes]) -> AsyncIterator[Frame]:
    """Complete frames. What the end of the body cut in the middle is left out: the answer before it is judged."""
    rest = bytearray()
    async for piece in pieces:
        rest += piece
        while (length := _length(rest)) is not None and len(rest) >= length:
            yield _frame(bytes(rest[:length]))
            del rest[:length]


def _length(data: bytearray) -> int | None:
    if len(data) < _BEFORE_HEADERS:
        return None
    length, headers = _PRELUDE.unpack_from(data)
    (crc,) = _CRC.unpack_from(data, _PRELUDE.size)
    if (
        crc != zlib.crc32(data[: _PRELUDE.size])
        or not headers + _BEFORE_HEADERS + _CRC.size <= length <= _LONGEST_FRAME
    ):
        raise _unreadable()
    return length


def _frame(data: bytes) -> Frame:
    (crc,) = _CRC.unpack_from(data, len(data) - _CRC.size)
    if crc != zlib.crc32(data[: -_CRC.size]):
        raise _unreadable()
    end = _BEFORE_HEADERS + _PRELUDE.unpack_from(data)[1]
    return Frame(_headers(data[_BEFORE_HEADERS:end]), data[end : -_CRC.size])


def _headers(data: bytes) -> Mapping[str, str]:
    """Those that are text; all that is wanted here is."""
    found: dict[str, str] = {}
    at = 0
    try:
        while at < len(data):
            name = data[at + 1 : at + 1 + data[at]].decode()
            at += 1 + data[at]
            kind = data[at]
            at += 1
            size = _SIZES.get(kind)
            if size is None:
                (size,) = _LENGTH.unpack_from(data, at)
                at += _LENGTH.size
            if kind == _TEXT:
                found[name] = data[at : at + size].decode()
            at += size
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise _unreadable() from error
    return found


def _unreadable() -> ProviderError:
    return ProviderError("unreadable", "what its server answers is no event stream", tokens_paid=True)
