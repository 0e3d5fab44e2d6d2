"""The role of whoever watches PostgreSQL: it reads what the server tells of itself (``pg_monitor``), and no table.

Where the secrets hold no URL for it there is none: somebody else watches that server.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import unquote, urlsplit, urlunsplit

import psycopg
from psycopg import sql

ROLE = "monitor"
SECRET = "monitor-database-url"
# An exporter that is asked twice at a time must not take the connections of services.
_MOST_CONNECTIONS = 4


def monitor_url(admin_url: str, password: str) -> str:
    """To the administrator's own database: statistics are those of all."""
    parts = urlsplit(admin_url)
    address = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{ROLE}:{password}@{address}"))


def ensure_monitor(admin_url: str, secrets: Mapping[str, str]) -> None:
    if SECRET not in secrets:
        return
    password = unquote(urlsplit(secrets[SECRET]).password or "")
    with psycopg.connect(admin_url, autocommit=True) as connection:
        exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE]).fetchone() is not None
        connection.execute(
            sql.SQL("{} ROLE {} LOGIN NOSUPERUSER NOBYPASSRLS CONNECTION LIMIT {} PASSWORD {}").format(
                sql.SQL("ALTER" if exists else "CREATE"),
                sql.Identifier(ROLE),
                sql.Literal(_MOST_CONNECTIONS),
                sql.Literal(password),
            )
        )
        connection.execute(sql.SQL("GRANT pg_monitor TO {}").format(sql.Identifier(ROLE)))
