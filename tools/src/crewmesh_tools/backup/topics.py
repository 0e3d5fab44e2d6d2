"""Messages on their way: those that somebody had still to deal with when the database was looked at.

A service deletes an event from its outbox once it is published, and a consumer acknowledges one once what follows from
it is committed. So what was published and not dealt with at the moment of the snapshot is nowhere but here. Dapr's
consumer groups begin at the first message of a stream, so the messages only have to be there before the sidecars start.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias, cast

import redis

from crewmesh_tools.backup.errors import BackupError

_PAGE = 1000

Id: TypeAlias = "tuple[int, int]"
Floors: TypeAlias = "dict[bytes, Id]"


class Topics:
    def __init__(self, url: str) -> None:
        # The answers as they come over the wire: the library's own shapes differ between its versions.
        self._client = redis.Redis.from_url(url, socket_timeout=60, protocol=2)  # pyright: ignore[reportUnknownMemberType]
        self._client.response_callbacks.clear()

    def close(self) -> None:
        self._client.close()

    def floors(self) -> Floors:
        """Stream → the oldest message that some group has not acknowledged."""
        return {stream: self._floor(stream) for stream in self.streams()}

    def now(self) -> int:
        """The server's clock in milliseconds, of which the ids of messages are made."""
        seconds, micros = cast("list[bytes]", self.ask("TIME"))
        return int(seconds) * 1000 + int(micros) // 1000

    def save(self, floors: Floors, until: int, target: Path) -> int:
        """How many messages were written."""
        count = 0
        with target.open("w", encoding="utf-8") as file:
            for stream in self.streams():
                for id_, fields in self._messages(stream, floors.get(stream, (0, 0)), until):
                    file.write(json.dumps([_text(stream), id_, [_text(field) for field in fields]]) + "\n")
                    count += 1
        return count

    def load(self, source: Path) -> int:
        count = 0
        with source.open(encoding="utf-8") as lines:
            for line in lines:
                stream, id_, fields = cast("tuple[str, str, list[str]]", json.loads(line))
                self.ask("XADD", _bytes(stream), id_, *(_bytes(field) for field in fields))
                count += 1
        return count

    def clear(self) -> None:
        for stream in self.streams():
            self.ask("DEL", stream)

    def streams(self) -> list[bytes]:
        cursor, found = b"0", set[bytes]()
        while True:
            cursor, page = cast("tuple[bytes, list[bytes]]", self.ask("SCAN", cursor, "COUNT", 1000, "TYPE", "stream"))
            found.update(page)
            if cursor == b"0":
                return sorted(found)

    def _floor(self, stream: bytes) -> Id:
        floors: list[Id] = []
        for answer in cast("list[list[object]]", self.ask("XINFO", "GROUPS", stream)):
            group = dict(zip(answer[::2], answer[1::2], strict=True))
            milliseconds, number = _id(cast(bytes, group[b"last-delivered-id"]))
            floors.append((milliseconds, number + 1))
            pending = cast("list[bytes | None]", self.ask("XPENDING", stream, cast(bytes, group[b"name"])))
            floors += [_id(oldest)] if (oldest := pending[1]) else []
        return min(floors, default=(0, 0))

    def _messages(self, stream: bytes, start: Id, until: int) -> Iterator[tuple[str, list[bytes]]]:
        while True:
            begin = f"{start[0]}-{start[1]}"
            answer = self.ask("XRANGE", stream, begin, until, "COUNT", _PAGE)
            page = cast("list[tuple[bytes, list[bytes]]]", answer)
            for id_, fields in page:
                yield id_.decode(), fields
            if len(page) < _PAGE:
                return
            milliseconds, number = _id(page[-1][0])
            start = (milliseconds, number + 1)

    def ask(self, *command: str | bytes | int) -> object:
        try:
            # Twice: neither its arguments nor its answer have types.
            return self._client.execute_command(*command)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        except redis.RedisError as error:
            raise BackupError(f"Valkey does not do its part ({command[0]!s}): {error}") from error


def _id(text: bytes) -> Id:
    milliseconds, _, number = text.partition(b"-")
    return int(milliseconds), int(number)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)
