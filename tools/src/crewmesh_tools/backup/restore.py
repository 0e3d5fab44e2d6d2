"""Putting a backup back: `make restore`.

Everything is made beside the place where it will be, and gets that place at the end by a few renames. So a restore that
is interrupted leaves what was there before as it was, and whatever is replaced is kept under another name.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Protocol

from crewmesh_tools.backup import archive, database
from crewmesh_tools.backup.database import Say
from crewmesh_tools.backup.errors import BackupError
from crewmesh_tools.backup.sealing import unseal
from crewmesh_tools.backup.topics import Topics
from crewmesh_tools.images import project_version
from crewmesh_tools.mesh.layout import POSTGRES_PORT, VALKEY_PORT, Layout
from crewmesh_tools.mesh.leftovers import clean_up
from crewmesh_tools.mesh.secrets import (
    EMBEDDED_REDIS_PASSWORD,
    Secrets,
    Servers,
    database_passwords,
    load_or_make,
    write_private,
)
from crewmesh_tools.mesh.state import holding_lock
from crewmesh_tools.servers.postgres import PostgresServer, bootstrap, role_of
from crewmesh_tools.servers.valkey import ValkeyServer

# What holds the data of a mesh. The scheduler's goes away with the rest, but is not put back: see the package.
_DATA = ("secrets.json", "credentials.json", "seeded", "blobs", "postgres", "valkey", "scheduler")
_READY_SECONDS, _STOP_SECONDS = 60.0, 60.0


class Server(Protocol):
    """What the launchers of both servers have in common."""

    stop_signal: ClassVar[signal.Signals]

    @property
    def env(self) -> dict[str, str]: ...
    def prepare(self) -> None: ...
    def command(self) -> list[str]: ...
    def wait_ready(self, deadline: float) -> None: ...


class Restore:
    def __init__(self, layout: Layout, apps: Sequence[str], environ: Mapping[str, str], say: Say) -> None:
        self._layout = layout
        self._apps = apps
        self._own_database = environ.get("DATABASE_URL")
        self._own_redis = environ.get("REDIS_URL")
        self._say = say
        self._staging = layout.state / "restoring"

    def run(self, path: Path, passphrase: str, *, replace: bool) -> None:
        self._say(f"Checking {path}")
        with archive.reading(path) as backup:
            _refuse_newer(backup.manifest.about)
            secrets = unseal(backup.read(archive.SECRETS), passphrase)
            self._layout.state.mkdir(mode=0o711, parents=True, exist_ok=True)
            clean_up(self._layout)
            with holding_lock(self._layout.lock_file):
                if not replace:
                    self._refuse_over_data()
                self._stage(backup, secrets)
                kept = self._swap()
        if kept is not None:
            self._say(f"What was here before is kept in {kept}.")
        taken = backup.manifest.about.taken_at.isoformat(timespec="seconds")
        self._say(f"Restored to {taken}. Start it: make run")

    def _refuse_over_data(self) -> None:
        here = [name for name in _DATA if (self._layout.state / name).exists()]
        if here:
            raise BackupError(
                f"There is a mesh in {self._layout.state} already ({', '.join(here)}). To replace it, which keeps what "
                "is there under another name: make restore … REPLACE=yes"
            )
        if self._own_database and database.holds_data(self._own_database):
            raise BackupError("The database of DATABASE_URL holds data. To overwrite it: make restore … REPLACE=yes")
        if self._own_redis:
            with topics_of(self._own_redis) as topics:
                if topics.streams():
                    raise BackupError("The server of REDIS_URL holds topics. To drop them: make restore … REPLACE=yes")

    def _stage(self, backup: archive.Reader, secrets: bytes) -> None:
        shutil.rmtree(self._staging, ignore_errors=True)
        # Passable for the account the database runs as.
        self._staging.mkdir(mode=0o711)
        write_private(self._staging / "secrets.json", json.loads(secrets))
        blobs = backup.blobs()
        self._say(f"Blobs: {len(blobs)}")
        for name in blobs:
            backup.extract(name, self._staging / name)
        for name in (archive.DUMP, archive.TOPICS):
            backup.extract(name, self._staging / name)
        with ExitStack() as servers:
            postgres = None if self._own_database else self._postgres()
            admin_url = self._own_database or (postgres.admin_url if postgres else "")
            known = self._known(admin_url)
            if postgres is not None:
                servers.enter_context(running(postgres, self._staging / "postgres.log"))
            self._fill_database(admin_url, known)
            self._fill_topics(servers, known)
        (self._staging / "seeded").touch()

    def _postgres(self) -> PostgresServer:
        server = PostgresServer(self._staging / "postgres", self._layout.port(POSTGRES_PORT))
        server.prepare()
        return server

    def _known(self, admin_url: str) -> Secrets:
        """The secrets of the backup, with the addresses of here."""
        servers = Servers(admin_url, redis_port=self._layout.port(VALKEY_PORT), redis_url=self._own_redis)
        return load_or_make(self._staging / "secrets.json", self._apps, servers)

    def _fill_database(self, admin_url: str, known: Secrets) -> None:
        self._say("Database")
        passwords = database_passwords(known, self._apps)
        # They may hold tables that the backup knows nothing of; on a fresh server there is nothing to drop.
        database.drop_schemas(admin_url, [role_of(name) for name in passwords])
        bootstrap(admin_url, passwords)
        database.load(admin_url, self._staging / archive.DUMP, self._say)
        # The schemas were dropped and made again: what they are given lies outside of the dump.
        bootstrap(admin_url, passwords)

    def _fill_topics(self, servers: ExitStack, known: Secrets) -> None:
        if self._own_redis is None:
            port, password = self._layout.port(VALKEY_PORT), known[EMBEDDED_REDIS_PASSWORD]
            valkey = ValkeyServer(self._staging / "valkey", port, password)
            servers.enter_context(running(valkey, self._staging / "valkey.log"))
        with topics_of(known["redis-url"]) as topics:
            topics.clear()
            self._say(f"Messages on their way: {topics.load(self._staging / archive.TOPICS)}")

    def _swap(self) -> Path | None:
        """The old out, the new in; the secrets last, for without them nothing is taken for a mesh."""
        kept = self._layout.state / f"replaced-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
        for name in _DATA:
            old = self._layout.state / name
            if old.exists():
                kept.mkdir(mode=0o711, exist_ok=True)
                old.replace(kept / name)
        for name in reversed(_DATA):
            new = self._staging / name
            if new.exists():
                new.replace(self._layout.state / name)
        shutil.rmtree(self._staging)
        return kept if kept.exists() else None


def _refuse_newer(about: archive.About) -> None:
    """Older data is migrated at the next start; of newer data this code may know nothing."""
    if _numbers(about.crewmesh) > _numbers(project_version()):
        raise BackupError(
            f"The backup is of Crewmesh {about.crewmesh}, this is {project_version()}. Restore it with that version."
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


@contextmanager
def topics_of(url: str) -> Generator[Topics]:
    topics = Topics(url)
    try:
        yield topics
    finally:
        topics.close()


@contextmanager
def running(server: Server, log: Path) -> Generator[None]:
    """The server for as long as it is needed, and stopped in order."""
    server.prepare()
    with log.open("ab") as output:
        process = subprocess.Popen(server.command(), env=server.env, cwd="/", stdout=output, stderr=output)
    try:
        server.wait_ready(time.monotonic() + _READY_SECONDS)
        yield
    finally:
        process.send_signal(server.stop_signal)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_STOP_SECONDS)
