"""Plain SQL files, applied in order, once, by whichever replica comes first.

The kit's own tables come first, then the service's ``migrations/NNNN_name.sql``, all into the service's schema. Each
file is one transaction. A file that was applied is history: when its text differs from what was applied, nothing
starts. A database that is ahead of the code is accepted, because an older replica may restart during an upgrade.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from crewmesh_kit.logs import get_logger

_FILE_NAME = re.compile(r"^(\d{4})_([a-z0-9_]+)\.sql$")
KIT_MIGRATIONS = Path(str(files("crewmesh_kit"))) / "db" / "sql"

_LOCK = "SELECT pg_advisory_lock(hashtextextended('crewmesh migrations of ' || current_schema(), 0))"
_UNLOCK = "SELECT pg_advisory_unlock(hashtextextended('crewmesh migrations of ' || current_schema(), 0))"
_TABLE = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    part text NOT NULL,
    version integer NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (part, version)
)"""

log = get_logger(__name__)


class MigrationError(Exception):
    """The migration files and the database contradict each other; the text says which file, and what to do."""


@dataclass(frozen=True, slots=True)
class Migration:
    part: str
    version: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    def __str__(self) -> str:
        return f"{self.part} migration {self.version:04}_{self.name}.sql"


def read_migrations(folder: Path, *, part: str) -> list[Migration]:
    """The folder's files in order; names that do not fit, gaps and doubles are refused."""
    if not folder.is_dir():
        raise MigrationError(f"there is no folder {folder} with the {part}'s migrations")
    found: list[Migration] = []
    for path in sorted(folder.glob("*.sql")):
        match = _FILE_NAME.match(path.name)
        if match is None:
            raise MigrationError(f"{path}: name migrations NNNN_what_it_does.sql")
        if int(match[1]) != len(found) + 1:
            raise MigrationError(f"{path}: expected number {len(found) + 1:04}; numbers have neither gaps nor doubles")
        found.append(Migration(part, int(match[1]), match[2], path.read_text(encoding="utf-8")))
    return found


async def migrate(url: str, *, app_id: str, migrations: Path | None) -> None:
    """Bring the schema up to date. Replicas that start at the same time wait for the first."""
    wanted = read_migrations(KIT_MIGRATIONS, part="kit")
    if migrations is not None:
        wanted += read_migrations(migrations, part="service")
    connection = await AsyncConnection.connect(
        url, autocommit=True, application_name=f"{app_id} migrations", connect_timeout=5
    )
    async with connection:
        await connection.execute(_LOCK)
        try:
            await connection.execute(_TABLE)
            await _apply(connection, wanted)
        finally:
            await connection.execute(_UNLOCK)


async def _apply(connection: AsyncConnection[TupleRow], migrations: Sequence[Migration]) -> None:
    cursor = await connection.execute("SELECT part, version, checksum FROM schema_migrations")
    applied = {(str(part), int(version)): str(checksum) for part, version, checksum in await cursor.fetchall()}
    for migration in migrations:
        checksum = applied.get((migration.part, migration.version))
        if checksum is None:
            await _apply_one(connection, migration)
        elif checksum != migration.checksum:
            raise MigrationError(f"{migration} was applied with another text; restore it and add a new file instead")


async def _apply_one(connection: AsyncConnection[TupleRow], migration: Migration) -> None:
    async with connection.transaction():
        # Starting content may belong to any organization, and forced row-level security holds for the owner too.
        await connection.execute("SET LOCAL app.org_id = '*'")
        await connection.execute(migration.text.encode())
        await connection.execute(
            "INSERT INTO schema_migrations (part, version, name, checksum) VALUES (%s, %s, %s, %s)",
            [migration.part, migration.version, migration.name, migration.checksum],
        )
    log.info("applied migration", part=migration.part, version=migration.version, name=migration.name)
