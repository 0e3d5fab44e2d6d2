"""The mesh that all tests share, seen from outside: through the test edge and a sidecar of Kong's own."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import replace

import pytest
from crewmesh_testkit.identities import EDGE_TOKEN
from crewmesh_testkit.mesh import Credentials, MeshProcess
from crewmesh_tools.mesh.layout import GATEWAY_PORT

from tests.edge.configuration import FILE
from tests.edge.edge import Edge
from tests.edge.sidecar import kongs_sidecar

ORIGIN = "https://console.example.com"


class MeshBehindTheEdge(MeshProcess):
    """The same running mesh; its public address is the edge's."""

    def __init__(self, mesh: MeshProcess, edge: Edge, sidecar_port: int) -> None:
        super().__init__(mesh.home, offset=mesh.layout.offset)
        self.edge = edge
        self.sidecar_port = sidecar_port
        self.itself = mesh

    @property
    def credentials(self) -> Credentials:
        return replace(super().credentials, api_url=self.edge.url)


@pytest.fixture(scope="session")
def mesh(mesh: MeshProcess, tmp_path_factory: pytest.TempPathFactory) -> Generator[MeshBehindTheEdge]:
    with kongs_sidecar(mesh, tmp_path_factory.mktemp("kong")) as (port, token):
        environment = {
            "DAPR_API_TOKEN": token,
            "CREWMESH_EDGE_TOKEN": EDGE_TOKEN,
            "CREWMESH_EDGE_ORIGINS": ORIGIN,
        }
        places = {
            "127.0.0.1:3500": f"127.0.0.1:{port}",
            "gateway:8080": f"127.0.0.1:{mesh.layout.port(GATEWAY_PORT)}",
        }
        # The tests speak for clients of many addresses, as a load balancer does.
        with Edge(FILE, places=places, environment=environment, trusted=["127.0.0.1/32"]) as edge:
            yield MeshBehindTheEdge(mesh, edge, port)


@pytest.fixture(autouse=True)
def nobody_asked_before(request: pytest.FixtureRequest) -> None:
    """Every test begins with fresh counters, and with the time that it is."""
    if "mesh" in request.fixturenames:
        mesh: MeshBehindTheEdge = request.getfixturevalue("mesh")
        mesh.edge.plugins.counts.clear()
        mesh.edge.plugins.now = time.time
