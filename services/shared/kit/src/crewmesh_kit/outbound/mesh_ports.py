"""Where a local mesh listens: no request to the world may lead there, also where this machine may be reached."""

from __future__ import annotations

from collections.abc import Iterable

from crewmesh_kit.settings import ServiceSettings

# Where the local mesh listens unless told otherwise: apps, sidecars, control plane, stores, model (see dapr.yaml).
LOCAL_MESH_PORTS = (
    *range(8080, 8085),
    *range(3500, 3505),
    *range(4500, 4505),
    *range(5500, 5505),
    *range(9190, 9195),
    *(9300, 9301, 9302, 9310, 9311, 9312, 9320, 9321, 9322, 9323, 9324),
    *(5480, 6380, 8090),
)


def refused_ports(settings: ServiceSettings, told: Iterable[int]) -> frozenset[int]:
    """The mesh's ports as far as they are known: those that were told, the service's own, and its sidecar's."""
    return frozenset((*told, settings.http.port, settings.dapr.http_port, settings.dapr.grpc_port))
