"""Making a backup of a mesh that runs: `make backup`."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from crewmesh_tools.backup import archive, database
from crewmesh_tools.backup.database import Say, Snapshot
from crewmesh_tools.backup.errors import BackupError
from crewmesh_tools.backup.sealing import seal
from crewmesh_tools.backup.topics import Topics
from crewmesh_tools.images import project_version
from crewmesh_tools.mesh.layout import POSTGRES_PORT, Layout
from crewmesh_tools.mesh.secrets import read_secrets
from crewmesh_tools.servers.postgres import PostgresServer

METRICS_FILE = "backup.prom"


@dataclass(frozen=True, slots=True)
class Source:
    """Where the data of a mesh is."""

    admin_url: str
    redis_url: str
    secrets_file: Path
    blobs: Path


def source_of(layout: Layout, environ: Mapping[str, str]) -> Source:
    secrets = read_secrets(layout.secrets_file)
    if not secrets:
        raise BackupError(f"There is no mesh in {layout.state} that could be backed up.")
    embedded = PostgresServer(layout.state / "postgres", layout.port(POSTGRES_PORT))
    admin_url = environ.get("DATABASE_URL") or embedded.admin_url
    return Source(admin_url, secrets["redis-url"], layout.secrets_file, layout.state / "blobs")


def create(source: Source, folder: Path, passphrase: str, *, say: Say) -> Path:
    """The archive that was written into the folder."""
    began = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    sealed = seal(source.secrets_file.read_bytes(), passphrase)
    path = folder / f"crewmesh-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.tar"
    with archive.writing(path) as writer, tempfile.TemporaryDirectory(dir=folder, prefix=".backup-") as scratch:
        say("Blobs, first time")
        blobs = _add_blobs(writer, source.blobs, set())
        about = _add_moment(writer, source, Path(scratch), say)
        say("Blobs that came meanwhile")
        blobs |= _add_blobs(writer, source.blobs, blobs)
        writer.add_bytes(archive.SECRETS, sealed)
        writer.finish(about)
    size = path.stat().st_size
    say(f"Backed up in {time.monotonic() - began:.1f} s: {path}, {size / 1e6:.1f} MB with {len(blobs)} blobs.")
    return path


def _add_moment(writer: archive.Writer, source: Source, scratch: Path, say: Say) -> archive.About:
    """The database as of one moment, and the messages that were on their way at that moment."""
    topics = Topics(source.redis_url)
    try:
        # In this order: what nobody has dealt with at the snapshot is either above a floor or came after it was read.
        floors = topics.floors()
        with database.exported_snapshot(source.admin_url) as snapshot:
            until = topics.now()
            say(f"Database, as of {snapshot.taken_at.isoformat(timespec='seconds')}")
            database.dump(source.admin_url, snapshot, scratch / archive.DUMP, say)
        count = topics.save(floors, until, scratch / archive.TOPICS)
        say(f"Messages on their way: {count}")
    finally:
        topics.close()
    for name in (archive.DUMP, archive.TOPICS):
        writer.add(name, scratch / name)
    return _about(snapshot)


def _about(snapshot: Snapshot) -> archive.About:
    return archive.About(
        crewmesh=project_version(),
        postgres=snapshot.server_version,
        taken_at=snapshot.taken_at,
        schemas=snapshot.schemas,
    )


def _add_blobs(writer: archive.Writer, folder: Path, known: set[str]) -> set[str]:
    added: set[str] = set()
    for path in sorted(folder.rglob("*")):
        name = archive.BLOBS + path.relative_to(folder).as_posix()
        if name in known or not path.is_file():
            continue
        try:
            writer.add(name, path)
        except FileNotFoundError:
            # Deleted while we looked: whatever the snapshot names is there in one of the two rounds.
            continue
        added.add(name)
    return added


def write_metrics(folder: Path, path: Path, seconds: float) -> Path:
    """For the textfile collector of node_exporter, or whoever else reads such files."""
    values = {
        "crewmesh_backup_last_success_timestamp_seconds": (f"{time.time():.0f}", "When the last backup was complete."),
        "crewmesh_backup_last_duration_seconds": (f"{seconds:.1f}", "How long it took."),
        "crewmesh_backup_last_size_bytes": (str(path.stat().st_size), "How big its archive is."),
    }
    lines = [
        f"# HELP {name} {meaning}\n# TYPE {name} gauge\n{name} {value}\n" for name, (value, meaning) in values.items()
    ]
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / f".{METRICS_FILE}.{os.getpid()}"
    fresh.write_text("".join(lines), encoding="utf-8")
    fresh.chmod(0o644)
    return fresh.replace(folder / METRICS_FILE)
