"""The archive: a plain tar whose last member, the manifest, names every other one with its size and its sum.

It appears under its name complete or not at all, and is readable by its owner only.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import IO

from pydantic import BaseModel, ConfigDict, ValidationError

from crewmesh_tools.backup.errors import BackupError

FORMAT = 1
MANIFEST = "manifest.json"
DUMP, TOPICS, SECRETS, BLOBS = "postgres.dump", "topics.jsonl", "secrets.sealed", "blobs/"
_PIECE = 1024 * 1024


class Entry(BaseModel):
    model_config = ConfigDict(frozen=True)

    bytes: int
    sha256: str


class About(BaseModel):
    """What a backup is of."""

    model_config = ConfigDict(frozen=True)

    crewmesh: str
    postgres: str
    # When the database was looked at: what came later is not in it.
    taken_at: datetime
    # Schema → part → the newest migration it had.
    schemas: dict[str, dict[str, int]]


class Manifest(BaseModel):
    model_config = ConfigDict(frozen=True)

    format: int
    about: About
    members: dict[str, Entry]


class _Counted:
    """A file that sums what is read of it."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self.sum = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece = self._source.read(size)
        self.sum.update(piece)
        return piece


class Writer:
    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self.members: dict[str, Entry] = {}

    def add(self, name: str, path: Path) -> None:
        with path.open("rb") as source:
            self._add(name, source, os.fstat(source.fileno()).st_size)

    def add_bytes(self, name: str, content: bytes) -> None:
        self._add(name, io.BytesIO(content), len(content))

    def finish(self, about: About) -> None:
        manifest = Manifest(format=FORMAT, about=about, members=self.members)
        content = manifest.model_dump_json(indent=1).encode()
        self._tar.addfile(_header(MANIFEST, len(content)), io.BytesIO(content))

    def _add(self, name: str, source: IO[bytes], size: int) -> None:
        counted = _Counted(source)
        self._tar.addfile(_header(name, size), counted)  # pyright: ignore[reportArgumentType]  only read() is used
        self.members[name] = Entry(bytes=size, sha256=counted.sum.hexdigest())


def _header(name: str, size: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)
    header.size, header.mode = size, 0o600
    return header


@contextmanager
def writing(path: Path) -> Generator[Writer]:
    partial = path.with_name(path.name + ".partial")
    partial.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
                yield Writer(tar)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


class Reader:
    """An archive that was checked from beginning to end."""

    def __init__(self, tar: tarfile.TarFile, manifest: Manifest) -> None:
        self._tar = tar
        self.manifest = manifest

    def read(self, name: str) -> bytes:
        return self._open(name).read()

    def extract(self, name: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._open(name) as source, target.open("xb") as file:
            while piece := source.read(_PIECE):
                file.write(piece)

    def blobs(self) -> list[str]:
        """Their names inside the archive."""
        return [name for name in self.manifest.members if name.startswith(BLOBS)]

    def _open(self, name: str) -> IO[bytes]:
        source = self._tar.extractfile(name)
        if source is None:
            raise BackupError(f"{name} is not a file in this backup.")
        return source


@contextmanager
def reading(path: Path) -> Generator[Reader]:
    """Every sum is compared before anything of it is used."""
    try:
        with tarfile.open(path, "r:") as tar:
            manifest = _manifest(tar)
            _check(tar, manifest)
            yield Reader(tar, manifest)
    except FileNotFoundError as error:
        raise BackupError(f"There is no backup at {path}.") from error
    except tarfile.TarError as error:
        raise BackupError(f"{path} is not a backup of Crewmesh, or not all of one ({error}).") from error


def _manifest(tar: tarfile.TarFile) -> Manifest:
    # Only the end of the archive tells; one that was cut off has none.
    last = tar.getmembers()[-1:]
    source = tar.extractfile(last[0]) if last and last[0].name == MANIFEST else None
    if source is None:
        raise BackupError("The archive is cut off: its last part, the manifest, is missing.")
    try:
        manifest = Manifest.model_validate_json(source.read())
    except ValidationError as error:
        raise BackupError("The manifest of the archive is damaged.") from error
    if manifest.format != FORMAT:
        raise BackupError(f"The archive is of format {manifest.format}; this version of Crewmesh reads {FORMAT}.")
    return manifest


def _check(tar: tarfile.TarFile, manifest: Manifest) -> None:
    found: set[str] = set()
    for member in tar.getmembers()[:-1]:
        expected = manifest.members.get(member.name)
        if expected is None or member.name in found or not member.isreg() or not _stays_inside(member.name):
            raise BackupError(f"The archive holds {member.name!r}, of which its manifest knows nothing.")
        found.add(member.name)
        if (member.size, _sum(tar, member)) != (expected.bytes, expected.sha256):
            raise BackupError(f"{member.name} of the archive is damaged: its sum is not that of the manifest.")
    missing = {DUMP, TOPICS, SECRETS, *manifest.members} - found
    if missing:
        raise BackupError(f"The archive lacks {', '.join(sorted(missing)[:3])}.")


def _stays_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def _sum(tar: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    source = tar.extractfile(member)
    digest = hashlib.sha256()
    while source is not None and (piece := source.read(_PIECE)):
        digest.update(piece)
    return digest.hexdigest()
