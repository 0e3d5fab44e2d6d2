"""A second replica of every app, with a sidecar of its own, for tests of what happens when one of the two goes.

Sidecars find both as they do in Kubernetes (dapr-config/runtime/replicas): any address of several, remembered for a
while. At the start that is every replica; whoever plays the cluster's part writes the files anew with those that are
ready. Nobody stands in front of the gateways: callers choose between them as an ingress does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from crewmesh_tools.mesh.daprfile import App
from crewmesh_tools.mesh.layout import Layout


def with_replicas(apps: Sequence[App], replicas: int) -> tuple[App, ...]:
    """The second ones listen on the ports that follow those of all first ones."""
    return tuple(apps) if replicas == 1 else (*apps, *(_second(app, len(apps)) for app in apps))


def _second(app: App, shift: int) -> App:
    return app.model_copy(
        update={
            "replica": 2,
            "app_port": app.app_port + shift,
            "dapr_http_port": app.dapr_http_port + shift,
            "dapr_grpc_port": app.dapr_grpc_port + shift,
            "dapr_internal_grpc_port": app.dapr_internal_grpc_port + shift,
            "metrics_port": app.metrics_port + shift,
        }
    )


def write_names_of_replicas(layout: Layout) -> None:
    layout.names_file.write_text(
        "apiVersion: dapr.io/v1alpha1\n"
        "kind: Configuration\n"
        "metadata:\n  name: names\n"
        "spec:\n  nameResolution:\n"
        "    component: files\n"
        f"    configuration:\n      folder: '{layout.endpoints}'\n",
        encoding="utf-8",
    )


def write_endpoints(layout: Layout, apps: Iterable[App], *, ready: Callable[[App], bool]) -> None:
    """These replicas take calls from now on, and no others."""
    layout.endpoints.mkdir(mode=0o700, exist_ok=True)
    addresses: defaultdict[str, str] = defaultdict(str)
    for app in apps:
        address = f"127.0.0.1:{layout.port(app.dapr_internal_grpc_port)}\n"
        addresses[app.app_id] += address if ready(app) else ""
    for app_id, lines in addresses.items():
        fresh = layout.endpoints / f".{app_id}"
        fresh.write_text(lines, encoding="utf-8")
        fresh.replace(layout.endpoints / app_id)
