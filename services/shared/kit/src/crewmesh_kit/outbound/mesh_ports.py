"""Where a local mesh listens: no request to the world may lead there, also where this machine may be reached."""

from __future__ import annotations

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
