"""``python -m crewmesh_tools.deploy.bootstrap SECRETS``: roles and schemas of the services, before they start.

Runs once per deployment, as the administrator named by DATABASE_URL, and may run again. SECRETS is the flat map the
sidecars read: a JSON file (compose) or a folder with a file per secret (Kubernetes). Each role gets the password that
its own URL there carries, so that the two can never differ.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg

from crewmesh_tools.deploy.files import read_flat
from crewmesh_tools.deploy.monitor import ensure_monitor
from crewmesh_tools.mesh.secrets import WORKFLOW_STORE
from crewmesh_tools.servers.postgres import DATABASE, bootstrap, role_of

_OWN_URL = "database-url-"
_PATIENCE_SECONDS = 60.0


class BootstrapError(Exception):
    """Something to put right; the text says what."""


def main() -> int:
    try:
        roles = run(os.environ, sys.argv[1:])
    except BootstrapError as error:
        print(f"bootstrap: {error}", file=sys.stderr)
        return 1
    print(f"The database is ready for {', '.join(sorted(roles))}.")
    return 0


def run(environ: Mapping[str, str], arguments: list[str]) -> list[str]:
    if len(arguments) != 1:
        raise BootstrapError("name the secrets: a JSON file, or a folder with a file for each.")
    admin_url = environ.get("DATABASE_URL")
    if not admin_url:
        raise BootstrapError("DATABASE_URL must be the URL of an administrator of the PostgreSQL server.")
    secrets = read_flat(Path(arguments[0]))
    passwords = role_passwords(secrets)
    _wait_for(admin_url)
    try:
        bootstrap(admin_url, passwords)
        ensure_monitor(admin_url, secrets)
    except psycopg.Error as error:
        raise BootstrapError(
            f"the server cannot be prepared: {str(error).strip()}. The extension vector (pgvector) must be available, "
            "and DATABASE_URL must be that of an administrator."
        ) from error
    return list(passwords)


def role_passwords(secrets: Mapping[str, str]) -> dict[str, str]:
    """Per app the password of its role, from the URL it will connect with."""
    urls = {name.removeprefix(_OWN_URL): url for name, url in secrets.items() if name.startswith(_OWN_URL)}
    if not urls or f"{WORKFLOW_STORE}-url" not in secrets:
        raise BootstrapError(f"the secrets hold no {_OWN_URL}<app> or no {WORKFLOW_STORE}-url.")
    urls[WORKFLOW_STORE] = secrets[f"{WORKFLOW_STORE}-url"]
    for app, url in urls.items():
        parts = urlsplit(url)
        if unquote(parts.username or "") != role_of(app) or parts.path != f"/{DATABASE}" or not parts.password:
            raise BootstrapError(
                f"the database URL of {app} must be postgresql://{role_of(app)}:<password>@<host>/{DATABASE}."
            )
    return {app: unquote(urlsplit(url).password or "") for app, url in urls.items()}


def _wait_for(admin_url: str) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            psycopg.connect(admin_url, connect_timeout=5).close()
        except psycopg.OperationalError as error:
            if time.monotonic() >= deadline:
                raise BootstrapError(f"no connection to the server: {str(error).strip()}") from error
            time.sleep(1)
        else:
            return


if __name__ == "__main__":
    sys.exit(main())
