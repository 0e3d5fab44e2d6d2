"""Real servers for the edges we own: PostgreSQL with pgvector, and Valkey, each as a process of the test run."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Protocol

import psycopg
from crewmesh_tools.servers import postgres as launcher
from crewmesh_tools.servers.valkey import ValkeyServer

from crewmesh_testkit.ports import free_port
from crewmesh_testkit.spawning import spawn

_READY_SECONDS = 120.0
_STOP_SECONDS = 20.0
_TEMPLATE = "with_pgvector"


class Launcher(Protocol):
    """What the launchers of both servers have in common."""

    @property
    def env(self) -> dict[str, str]: ...
    def prepare(self) -> None: ...
    def command(self) -> list[str]: ...
    def is_ready(self) -> bool: ...


@dataclass
class ServerProcess:
    """A server that a test may kill and start again on the same data and port."""

    launcher: Launcher
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while self.process is None or not self.launcher.is_ready():
            if time.monotonic() >= deadline:
                self.stop()
                raise RuntimeError(f"The server does not answer:\n{self.log.read_text()[-3000:]}")
            # PostgreSQL does not start beside what is left for a moment of one that was killed.
            if self.process is None or self.process.poll() is not None:
                with self.log.open("ab") as log:
                    self.process = spawn(self.launcher.command(), env=self.launcher.env, cwd="/", log=log)
            time.sleep(0.05)

    def kill(self) -> None:
        """As a crash would: SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(_STOP_SECONDS)
            self.process = None

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(_STOP_SECONDS)
        self.process = None


@dataclass
class PostgresServer:
    """A running PostgreSQL. Every service database is a fresh one."""

    launcher: launcher.PostgresServer
    server: ServerProcess
    _numbers: count[int] = field(default_factory=lambda: count(1))

    @property
    def admin_url(self) -> str:
        return self.launcher.admin_url

    def create_service_database(self, app_id: str) -> str:
        """A new database with the service's role and schema, exactly as the mesh makes them; its URL."""
        database = f"test_{next(self._numbers)}"
        password = "test"
        launcher.bootstrap(self.admin_url, {}, database=_TEMPLATE)
        launcher.create_database(self.admin_url, database, template=_TEMPLATE)
        launcher.bootstrap(self.admin_url, {app_id: password}, database=database)
        return launcher.service_url(self.admin_url, app_id, password, database=database)

    def checkpoint(self) -> None:
        """Before a kill: the databases of other tests are not read anew at the next start, which is quick then."""
        with psycopg.connect(self.admin_url, autocommit=True) as conn:
            conn.execute("CHECKPOINT")


@contextmanager
def running_postgres(folder: Path, *, fsync: bool = False) -> Generator[PostgresServer]:
    """PostgreSQL with its data in ``folder``."""
    server = launcher.PostgresServer(folder / "postgres", free_port(), fsync=fsync)
    server.prepare()
    process = ServerProcess(server, folder / "postgres.log")
    process.start()
    try:
        yield PostgresServer(server, process)
    finally:
        process.stop()


@contextmanager
def running_valkey(folder: Path) -> Generator[tuple[ValkeyServer, ServerProcess]]:
    """Valkey with its data in ``folder``."""
    server = ValkeyServer(folder / "valkey", free_port(), "test", keep=False)
    server.prepare()
    process = ServerProcess(server, folder / "valkey.log")
    process.start()
    try:
        yield server, process
    finally:
        process.stop()


__all__: Sequence[str] = ("PostgresServer", "ServerProcess", "running_postgres", "running_valkey")
