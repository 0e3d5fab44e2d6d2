"""Databases of benchmarks beside the mesh's own, on the same server."""

from __future__ import annotations

import json
from typing import cast

from crewmesh_tools.mesh.layout import POSTGRES_PORT, Layout
from crewmesh_tools.servers.postgres import PostgresServer, bootstrap, service_url


def secrets_of(layout: Layout) -> dict[str, str]:
    return cast("dict[str, str]", json.loads(layout.secrets_file.read_text()))


def database_of(layout: Layout, app_id: str, name: str) -> str:
    """Its URL for the app, in whose schema nothing is yet."""
    admin_url = PostgresServer(layout.state / "postgres", layout.port(POSTGRES_PORT)).admin_url
    password = secrets_of(layout)[f"database-password-{app_id}"]
    bootstrap(admin_url, {app_id: password}, database=name)
    return service_url(admin_url, app_id, password, database=name)
