"""``python -m crewmesh_kit.db APP FOLDER``: bring one service's schema up to date, and leave.

The very migrations that the service runs when it starts, so that a deployment can have them done before the first new
replica comes. The database is that of the service: CREWMESH_DATABASE__URL, or the file that its _FILE twin names.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import psycopg

from crewmesh_kit import logs
from crewmesh_kit.db.migrations import MigrationError, migrate
from crewmesh_kit.settings import ServiceSettings


class NothingToMigrate(Exception):  # noqa: N818  the operator reads its text, nobody catches it by name elsewhere
    """What is missing on the command line or in the environment."""


def main(arguments: Sequence[str]) -> int:
    app_id = arguments[0] if arguments else "migrate"
    settings = ServiceSettings()
    logs.configure(app_id, settings.log)
    log = logs.get_logger(__name__)
    try:
        asyncio.run(run(arguments, settings))
    except (NothingToMigrate, MigrationError, psycopg.OperationalError) as problem:
        log.error("the schema is not up to date", reason=str(problem).strip())
        return 1
    log.info("the schema is up to date")
    return 0


async def run(arguments: Sequence[str], settings: ServiceSettings) -> None:
    if len(arguments) != 2:
        raise NothingToMigrate("Name the app and the folder with its migrations.")
    if settings.database.url is None:
        raise NothingToMigrate("Set CREWMESH_DATABASE__URL to the database of the service.")
    app_id, folder = arguments
    await migrate(settings.database.url.get_secret_value(), app_id=app_id, migrations=Path(folder))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
