"""Everything one mesh consists of, worked out before the first process starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from crewmesh_tools.dapr_runtime import ensure_daprd_for_replicas
from crewmesh_tools.mesh.apps import app_spec, sidecar_spec, write_names
from crewmesh_tools.mesh.control_plane import control_plane
from crewmesh_tools.mesh.daprfile import App, read_dapr_file
from crewmesh_tools.mesh.layout import Layout
from crewmesh_tools.mesh.model import URL_VARIABLE, model_spec, model_url
from crewmesh_tools.mesh.preflight import check_ports
from crewmesh_tools.mesh.replicas import with_replicas, write_endpoints, write_names_of_replicas
from crewmesh_tools.mesh.secrets import Secrets, write_private
from crewmesh_tools.mesh.servers import prepare_data
from crewmesh_tools.mesh.specs import ProcessSpec

MESH_PORTS_VARIABLE = "CREWMESH_OUTBOUND__MESH_PORTS"
OUTBOX_VARIABLE = "CREWMESH_MAIL__OUTBOX"


@dataclass(frozen=True, slots=True)
class Plan:
    specs: tuple[ProcessSpec, ...]
    secrets: Secrets


def make_plan(layout: Layout, binaries: Path, environ: Mapping[str, str] = os.environ) -> Plan:
    """Makes folders, secrets and configuration files on the way; raises MeshError when something must be put right."""
    for folder in (layout.logs, layout.state / "blobs", layout.temporary):
        folder.mkdir(mode=0o700, exist_ok=True)
    described = read_dapr_file(layout.dapr_file)
    data = prepare_data(layout, [app.app_id for app in described], environ)
    apps = with_replicas(described, layout.replicas)
    model = model_spec(layout, environ)
    foundation = (*data.specs, *((model,) if model else ()), *control_plane(layout, binaries))
    several = layout.replicas > 1
    daprd = ensure_daprd_for_replicas(layout.runtime) if several else binaries / "daprd"
    specs = (*foundation, *_apps(layout, apps, data.secrets, daprd, foundation))
    ports = [(spec.name, port) for spec in specs for port in spec.ports]
    check_ports(ports)
    if several:
        write_names_of_replicas(layout)
        write_endpoints(layout, apps, ready=lambda _: True)
    else:
        write_names(layout, apps)
    _write_credentials(layout, data.secrets)
    return Plan(specs, data.secrets)


def _apps(
    layout: Layout, apps: tuple[App, ...], secrets: Secrets, daprd: Path, foundation: tuple[ProcessSpec, ...]
) -> list[ProcessSpec]:
    # The model may load while the apps start; whoever asks it early waits or tries again.
    needs = [spec.name for spec in foundation if spec.name != "model"]
    own_ports = [port for spec in foundation for port in spec.ports]
    own_ports += [layout.port(port) for app in apps for port in app.ports]
    shared = {
        MESH_PORTS_VARIABLE: ",".join(map(str, own_ports)),
        URL_VARIABLE: model_url(layout),
        OUTBOX_VARIABLE: str(layout.mail),
    }
    specs: list[ProcessSpec] = []
    for app in apps:
        specs.append(sidecar_spec(layout, app, secrets, daprd, needs))
        specs.append(app_spec(layout, app, secrets, needs, shared))
    return specs


def _write_credentials(layout: Layout, secrets: Secrets) -> None:
    write_private(
        layout.credentials_file,
        {
            "api_url": layout.api_url,
            "api_key": secrets["first-run-api-key"],
            "webhook_secret": secrets["webhook-signing-secret"],
        },
    )
