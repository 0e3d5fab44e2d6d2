"""A sidecar for the benchmark's own process, as those of the mesh are started, beside them.

Its components are the mesh's own files: the same servers, the same settings; only the database is another one of the
same PostgreSQL, so that the mesh's own data is left alone.
"""

from __future__ import annotations

import subprocess
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias, cast
from urllib.parse import urlsplit, urlunsplit

import yaml
from crewmesh_kit.assembly import wait_for_sidecar
from crewmesh_kit.health import Lifecycle
from crewmesh_kit.settings import DaprSettings
from crewmesh_tools.dapr_runtime import ensure_dapr
from crewmesh_tools.mesh.apps import sidecar_spec
from crewmesh_tools.mesh.daprfile import App
from crewmesh_tools.mesh.layout import POSTGRES_PORT, Layout
from crewmesh_tools.mesh.secrets import Secrets
from crewmesh_tools.servers.postgres import PostgresServer, bootstrap, create_database, service_url
from pydantic import SecretStr

APP_ID = "bench"
_DATABASE, _DBOS_DATABASE = "bench", "bench_dbos"
_STOP_SECONDS = 15.0

_Document: TypeAlias = "dict[str, object]"


@dataclass(frozen=True, slots=True)
class Bench:
    """Where the benchmark's process finds its sidecar, its databases and Valkey."""

    dapr: DaprSettings
    engine_url: str
    dbos_url: str
    redis_url: str


@asynccontextmanager
async def running_sidecar(layout: Layout, known: Mapping[str, str]) -> AsyncGenerator[Bench]:
    """``known`` are the secrets of the running mesh that ``layout`` describes."""
    engine_url, chain_url, dbos_url = _databases(layout, known)
    folder = layout.state / "bench"
    folder.mkdir(mode=0o700)
    _write_component(layout, folder, "workflowstore", {**known, "workflowstore-url": chain_url})
    _write_component(layout, folder, "pubsub", known)
    configuration = _write_configuration(layout, folder)
    app = _app(folder, configuration)
    token = known["dapr-api-token-workflow"]
    dapr = DaprSettings(
        http_port=layout.port(app.dapr_http_port),
        grpc_port=layout.port(app.dapr_grpc_port),
        api_token=SecretStr(token),
    )
    with _daprd(layout, app, token, folder / "daprd.log"):
        await wait_for_sidecar(dapr, Lifecycle())
        yield Bench(dapr, engine_url, dbos_url, known["redis-url"])


def _app(folder: Path, configuration: Path) -> App:
    """As an entry of dapr.yaml, with the ports that follow those of the mesh's own apps."""
    return App.model_validate(
        {
            "appID": APP_ID,
            "appDirPath": folder,
            "resourcesPaths": [folder / "components"],
            "configFilePath": configuration,
            "appPort": 8085,
            "daprHTTPPort": 3505,
            "daprGRPCPort": 4505,
            "daprInternalGRPCPort": 5505,
            "metricsPort": 9195,
            "command": ["none"],
        }
    )


def _databases(layout: Layout, known: Mapping[str, str]) -> tuple[str, str, str]:
    """One with a schema for the engine and one for Dapr's store, owned by the roles of the mesh, and one for DBOS."""
    admin_url = PostgresServer(layout.state / "postgres", layout.port(POSTGRES_PORT)).admin_url
    passwords = {name: known[f"database-password-{name}"] for name in ("workflow", "workflowstore")}
    bootstrap(admin_url, passwords, database=_DATABASE)
    engine, chain = (service_url(admin_url, name, passwords[name], database=_DATABASE) for name in passwords)
    create_database(admin_url, _DBOS_DATABASE)
    return engine, chain, urlunsplit(urlsplit(admin_url)._replace(path=f"/{_DBOS_DATABASE}"))


def _write_component(layout: Layout, folder: Path, name: str, known: Mapping[str, str]) -> None:
    """The mesh's component with its secrets filled in, and nobody else in its scope."""
    source = layout.repository / "components" / "local" / f"{name}.yaml"
    component = cast(_Document, yaml.safe_load(source.read_text()))
    component.pop("scopes", None)
    component.pop("auth", None)
    spec = cast(_Document, component["spec"])
    for entry in cast("list[_Document]", spec["metadata"]):
        if reference := cast("dict[str, str] | None", entry.pop("secretKeyRef", None)):
            entry["value"] = known[reference["key"]]
    components = folder / "components"
    components.mkdir(exist_ok=True)
    (components / f"{name}.yaml").write_text(yaml.safe_dump(component))


def _write_configuration(layout: Layout, folder: Path) -> Path:
    """As the workflow service's sidecar, without its access lists: nobody calls this app."""
    source = layout.repository / "dapr-config" / "workflow.yaml"
    configuration = cast(_Document, yaml.safe_load(source.read_text()))
    spec = cast(_Document, configuration["spec"])
    configuration["spec"] = {part: spec[part] for part in ("tracing", "metrics", "workflow")}
    path = folder / "bench.yaml"
    path.write_text(yaml.safe_dump(configuration))
    return path


@contextmanager
def _daprd(layout: Layout, app: App, token: str, log: Path) -> Generator[None]:
    binaries = ensure_dapr(layout.repository / "dapr-config" / "runtime")
    secrets = Secrets({f"dapr-api-token-{APP_ID}": token, f"app-api-token-{APP_ID}": token})
    spec = sidecar_spec(layout, app, secrets, binaries / "daprd", ())
    command = list(spec.command)
    at = command.index("--app-port")
    del command[at : at + 2]  # nothing listens; a worker connects by itself
    from_files = {name: path.read_text() for name, path in spec.env_files.items()}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env={**spec.env, **from_files}, cwd=spec.cwd, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
