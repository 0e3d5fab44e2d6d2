"""PostgreSQL and Valkey as processes of the mesh; none of either when somebody's own server is named.

``DATABASE_URL`` (an administrator's URL of a PostgreSQL that has pgvector) and ``REDIS_URL`` replace the embedded ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import psycopg
import redis

from crewmesh_tools.mesh.errors import MeshError
from crewmesh_tools.mesh.layout import POSTGRES_PORT, VALKEY_PORT, Layout
from crewmesh_tools.mesh.probes import postgres_check, valkey_check
from crewmesh_tools.mesh.secrets import EMBEDDED_REDIS_PASSWORD, Secrets, Servers, database_passwords, load_or_make
from crewmesh_tools.mesh.specs import ProcessSpec
from crewmesh_tools.servers.postgres import PostgresServer, bootstrap
from crewmesh_tools.servers.valkey import ValkeyServer


@dataclass(frozen=True, slots=True)
class Data:
    """The secrets, and the processes that hold the data."""

    secrets: Secrets
    specs: tuple[ProcessSpec, ...]


def prepare_data(layout: Layout, apps: Sequence[str], environ: Mapping[str, str]) -> Data:
    own_database, own_redis = environ.get("DATABASE_URL"), environ.get("REDIS_URL")
    postgres = None if own_database else _prepared_postgres(layout)
    admin_url = own_database or (postgres.admin_url if postgres else "")
    port = layout.port(VALKEY_PORT)
    secrets = load_or_make(layout.secrets_file, apps, Servers(admin_url, redis_port=port, redis_url=own_redis))
    passwords = database_passwords(secrets, apps)
    specs: list[ProcessSpec] = []
    if postgres is None:
        _bootstrap_own(admin_url, passwords)
    else:
        specs.append(_postgres_spec(layout, postgres, _bootstrapping(admin_url, passwords)))
    if own_redis:
        _check_own_redis(own_redis)
    else:
        specs.append(_valkey_spec(layout, secrets[EMBEDDED_REDIS_PASSWORD], port))
    return Data(secrets, tuple(specs))


def _prepared_postgres(layout: Layout) -> PostgresServer:
    server = PostgresServer(layout.state / "postgres", layout.port(POSTGRES_PORT))
    try:
        server.prepare()
    except RuntimeError as error:
        raise MeshError(str(error)) from error
    return server


def _bootstrap_own(admin_url: str, passwords: Mapping[str, str]) -> None:
    try:
        bootstrap(admin_url, passwords)
    except psycopg.Error as error:
        raise MeshError(
            f"The PostgreSQL of DATABASE_URL cannot be prepared: {_first_line(error)}. It must be reachable, have the "
            "extension vector (pgvector) available, and the URL must be that of an administrator."
        ) from error


def _check_own_redis(url: str) -> None:
    if not url.startswith("redis://"):
        raise MeshError("REDIS_URL must begin with redis://; the local mesh does not speak TLS to it.")
    try:
        # Twice pyright: the keyword arguments of the library are untyped.
        with redis.Redis.from_url(url, socket_timeout=5) as client:  # pyright: ignore[reportUnknownMemberType]
            client.ping()  # pyright: ignore[reportUnknownMemberType]
    except redis.RedisError as error:
        raise MeshError(f"The server of REDIS_URL cannot be used: {_first_line(error)}.") from error


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0].rstrip(".")


def _bootstrapping(admin_url: str, passwords: Mapping[str, str]) -> Callable[[], Awaitable[None]]:
    async def once_up() -> None:
        await asyncio.to_thread(bootstrap, admin_url, passwords)

    return once_up


def _postgres_spec(layout: Layout, server: PostgresServer, once_up: Callable[[], Awaitable[None]]) -> ProcessSpec:
    return ProcessSpec(
        name="postgres",
        command=tuple(server.command()),
        env=server.env,
        cwd=layout.state / "postgres",
        port=server.port,
        ports=(server.port,),
        check=postgres_check(server.port),
        once_up=once_up,
        stop_signal=server.stop_signal,
        orphan_signal=server.stop_signal,
        stop_seconds=30,
    )


def _valkey_spec(layout: Layout, password: str, port: int) -> ProcessSpec:
    server = ValkeyServer(layout.state / "valkey", port, password)
    server.prepare()
    return ProcessSpec(
        name="valkey",
        command=tuple(server.command()),
        env=server.env,
        cwd=layout.state / "valkey",
        port=port,
        ports=(port,),
        check=valkey_check(port, password),
        stop_signal=server.stop_signal,
        orphan_signal=server.stop_signal,
        stop_seconds=30,
    )
