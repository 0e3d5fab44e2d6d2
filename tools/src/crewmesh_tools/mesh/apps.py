"""The apps of dapr.yaml, each with its sidecar, as ``dapr run`` would start them, plus mTLS and API tokens.

Sidecars find each other by a table written here rather than by multicast DNS: that works without a network, answers at
once, and two meshes on one machine (or one office network) never find each other's apps.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from crewmesh_tools.mesh import layout as at
from crewmesh_tools.mesh.control_plane import go_environment
from crewmesh_tools.mesh.daprfile import App
from crewmesh_tools.mesh.layout import Layout
from crewmesh_tools.mesh.probes import http_check
from crewmesh_tools.mesh.secrets import Secrets
from crewmesh_tools.mesh.specs import ProcessSpec

SIDECAR_TIER, APP_TIER = 2, 3
_LOCAL = "127.0.0.1"
# Names a developer's shell may carry over from another Dapr app.
_NOT_INHERITED = ("DAPR_", "APP_")


def sidecar_name(app: str) -> str:
    return f"{app}-dapr"


def write_names(layout: Layout, apps: Sequence[App]) -> None:
    """A Configuration whose only content is where each app's sidecar listens."""
    branches = "".join(
        f'{{{{ if eq .ID "{app.app_id}" }}}}{_LOCAL}:{layout.port(app.dapr_internal_grpc_port)}{{{{ end }}}}'
        for app in apps
    )
    layout.names_file.write_text(
        "apiVersion: dapr.io/v1alpha1\n"
        "kind: Configuration\n"
        "metadata:\n  name: names\n"
        "spec:\n  nameResolution:\n"
        "    # The resolver of this name does nothing but fill in the template.\n"
        "    component: kubernetes\n"
        f"    configuration:\n      template: '{branches}'\n",
        encoding="utf-8",
    )


def sidecar_spec(layout: Layout, app: App, secrets: Secrets, daprd: Path, needs: Sequence[str]) -> ProcessSpec:
    ports = tuple(map(layout.port, app.ports[1:]))
    return ProcessSpec(
        name=sidecar_name(app.name),
        command=(
            *(str(daprd), "--app-id", app.app_id, "--app-port", str(layout.port(app.app_port))),
            *_sidecar_ports(ports),
            *_control_plane(layout),
            *_resources(layout, app),
            *("--dapr-graceful-shutdown-seconds", "3", "--disable-builtin-k8s-secret-store", "--log-as-json"),
        ),
        env=go_environment(
            layout,
            DAPR_API_TOKEN=secrets[f"dapr-api-token-{app.app_id}"],
            APP_API_TOKEN=secrets[f"app-api-token-{app.app_id}"],
            DAPR_HOST_IP=_LOCAL,
        ),
        env_files={"DAPR_TRUST_ANCHORS": layout.trust_anchors},
        cwd=layout.home,  # components name .crewmesh/… relative to it
        port=ports[0],
        ports=ports,
        check=http_check(ports[0], "/v1.0/healthz"),
        needs=tuple(needs),
        tier=SIDECAR_TIER,
        stop_seconds=12,
    )


def _sidecar_ports(ports: Sequence[int]) -> tuple[str, ...]:
    http, grpc, internal, metrics = map(str, ports)
    return (
        *("--dapr-http-port", http, "--dapr-grpc-port", grpc, "--dapr-listen-addresses", _LOCAL),
        *("--dapr-internal-grpc-port", internal, "--dapr-internal-grpc-listen-address", _LOCAL),
        *("--metrics-port", metrics, "--metrics-listen-address", _LOCAL),
    )


def _control_plane(layout: Layout) -> tuple[str, ...]:
    return (
        *("--enable-mtls", "--sentry-address", f"localhost:{layout.port(at.SENTRY_PORT)}"),
        *("--control-plane-trust-domain", "localhost", "--control-plane-namespace", "default"),
        *("--placement-host-address", f"{_LOCAL}:{layout.port(at.PLACEMENT_PORT)}"),
        *("--scheduler-host-address", f"{_LOCAL}:{layout.port(at.SCHEDULER_PORT)}"),
    )


def _resources(layout: Layout, app: App) -> tuple[str, ...]:
    arguments = ["--config", str(layout.names_file)]
    if app.config_file_path:
        arguments += ["--config", str(app.config_file_path)]  # last, so that its name is the configuration's
    for path in app.resources_paths:
        arguments += ["--resources-path", str(path)]
    optional = {
        "--log-level": app.log_level,
        "--max-body-size": app.max_body_size,
        "--read-buffer-size": app.read_buffer_size,
    }
    for flag, value in optional.items():
        arguments += [flag, value] if value else []
    return tuple(arguments)


def app_spec(
    layout: Layout, app: App, secrets: Secrets, needs: Sequence[str], shared: Mapping[str, str]
) -> ProcessSpec:
    port = layout.port(app.app_port)
    given_by_dapr_run = {
        "APP_ID": app.app_id,
        "APP_PORT": str(port),
        "APP_PROTOCOL": "http",
        "DAPR_HTTP_PORT": str(layout.port(app.dapr_http_port)),
        "DAPR_GRPC_PORT": str(layout.port(app.dapr_grpc_port)),
        "DAPR_METRICS_PORT": str(layout.port(app.metrics_port)),
        "DAPR_API_TOKEN": secrets[f"dapr-api-token-{app.app_id}"],
        "APP_API_TOKEN": secrets[f"app-api-token-{app.app_id}"],
    }
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_INHERITED)}
    path = os.pathsep.join([str(Path(sys.executable).parent), inherited.get("PATH", "")])
    return ProcessSpec(
        name=app.name,
        command=app.command,
        # A variable of the shell wins over dapr.yaml: it is how a developer tries something once.
        env={**shared, **app.env, **inherited, "PATH": path, "PYTHONUNBUFFERED": "1", **given_by_dapr_run},
        cwd=app.app_dir_path,
        port=port,
        ports=(port,),
        check=http_check(port, "/readyz"),
        needs=tuple(needs),
        tier=APP_TIER,
        stop_seconds=25,
    )
