"""The pytest plugin: real servers, started once per run, and a fresh database for whoever asks."""

from __future__ import annotations

from collections.abc import Callable, Generator

import pytest

from crewmesh_testkit.collector import SpanCollector, running_collector
from crewmesh_testkit.identities import EDGE_TOKEN
from crewmesh_testkit.log_capture import logging_as_before
from crewmesh_testkit.mesh import MeshProcess
from crewmesh_testkit.servers import PostgresServer, running_postgres, running_valkey


@pytest.fixture(autouse=True, name="logging_as_before")
def _logging_as_before() -> Generator[None]:
    """A program that a test ran in its own process wrote to the test's output, which is closed after it."""
    with logging_as_before():
        yield


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Generator[PostgresServer]:
    """A real PostgreSQL with pgvector, fast rather than durable."""
    with running_postgres(tmp_path_factory.mktemp("pg")) as server:
        yield server


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """The URL of a real Valkey."""
    with running_valkey(tmp_path_factory.mktemp("valkey")) as (server, _):
        yield server.url


@pytest.fixture(scope="session")
def database_url(postgres: PostgresServer) -> Callable[[str], str]:
    """``database_url("knowledge")`` → URL of a fresh database with that service's role and schema."""
    return postgres.create_service_database


@pytest.fixture(scope="session")
def collector() -> Generator[SpanCollector]:
    """Where the services of the mesh send their spans."""
    with running_collector() as collector:
        yield collector


@pytest.fixture(scope="session")
def mesh(tmp_path_factory: pytest.TempPathFactory, collector: SpanCollector) -> Generator[MeshProcess]:
    """The whole mesh, real from end to end, shared by all tests that want it."""
    environment = {"CREWMESH_TELEMETRY__OTLP_ENDPOINT": collector.url, "CREWMESH_EDGE__TOKEN": EDGE_TOKEN}
    process = MeshProcess(tmp_path_factory.mktemp("mesh"), environment=environment)
    process.start()
    try:
        yield process
    finally:
        process.stop()
