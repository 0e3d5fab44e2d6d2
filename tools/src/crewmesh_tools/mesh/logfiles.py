"""One log file per process, bounded in size, and a merged view of all of them."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

MOST_BYTES = 8 * 1024 * 1024
KEPT = 2
_MOMENT = rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?"
_FIELD = re.compile(rb'"(?:time|timestamp|ts)":"(' + _MOMENT + rb")")
_ANYWHERE = re.compile(b"(" + _MOMENT + b")")


class RotatingLog:
    """Appends to ``name.log``; when that is full it becomes ``name.log.1`` and so on. Never raises for a full disk:
    a mesh that cannot log must still run and stop."""

    def __init__(self, path: Path, *, most_bytes: int = MOST_BYTES, kept: int = KEPT) -> None:
        self.path = path
        self._most_bytes = most_bytes
        self._kept = kept
        self._file: BinaryIO | None = None
        self.lost_bytes = 0

    def write(self, data: bytes) -> None:
        try:
            file = self._file or self._open()
            file.write(data)
            if file.tell() >= self._most_bytes and data.endswith(b"\n"):
                self._rotate()
        except OSError:
            self.lost_bytes += len(data)

    def _open(self) -> BinaryIO:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("ab", buffering=0)
        return self._file

    def _rotate(self) -> None:
        self.close()
        for number in range(self._kept, 0, -1):
            older = self._numbered(number - 1)
            if older.exists():
                older.replace(self._numbered(number))

    def _numbered(self, number: int) -> Path:
        return self.path if number == 0 else self.path.with_name(f"{self.path.name}.{number}")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def last_lines(path: Path, count: int) -> list[bytes]:
    """The end of a log, without reading the whole of it."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 400 * count - 4096))
            return file.read().splitlines()[-count:]
    except FileNotFoundError:
        return []


@dataclass(frozen=True, slots=True)
class Line:
    name: str
    text: bytes


def merged(logs: Path, names: Sequence[str], count: int) -> list[Line]:
    """The last ``count`` lines of all logs together, in the order in which they were written."""
    dated: list[tuple[bytes, int, Line]] = []
    for path in _files(logs, names):
        moment = b""
        for text in last_lines(path, count):
            found = _FIELD.search(text) or _ANYWHERE.search(text)
            moment = found.group(1).replace(b" ", b"T").replace(b",", b".") if found else moment
            dated.append((moment, len(dated), Line(path.stem, text)))
    dated.sort(key=lambda entry: entry[:2])
    return [line for _, _, line in dated[-count:]]


class Follower:
    """Yields what is appended to any of the logs, across rotation and new files."""

    def __init__(self, logs: Path, names: Sequence[str]) -> None:
        self._logs = logs
        self._names = names
        self._at = {path: (path.stat().st_ino, path.stat().st_size) for path in _files(logs, names)}

    def new_lines(self) -> Iterator[Line]:
        for path in _files(self._logs, self._names):
            inode, position = self._at.get(path, (0, 0))
            now = path.stat()
            if now.st_ino != inode or now.st_size < position:
                inode, position = now.st_ino, 0
            if now.st_size > position:
                with path.open("rb") as file:
                    file.seek(position)
                    whole, _, _ = file.read(1024 * 1024).rpartition(b"\n")
                if whole:
                    yield from (Line(path.stem, text) for text in whole.split(b"\n"))
                    position += len(whole) + 1
            self._at[path] = (inode, position)


def follow(logs: Path, names: Sequence[str], count: int, show: Callable[[Iterable[Line]], None]) -> None:
    """Shows the last lines, then whatever comes, until interrupted."""
    follower = Follower(logs, names)
    show(merged(logs, names, count))
    while True:
        show(follower.new_lines())
        time.sleep(0.2)


def _files(logs: Path, names: Sequence[str]) -> list[Path]:
    found = sorted(logs.glob("*.log"))
    return [path for path in found if path.stem in names] if names else found
