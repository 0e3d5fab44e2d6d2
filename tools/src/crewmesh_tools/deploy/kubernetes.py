"""``python -m crewmesh_tools.deploy.kubernetes | kubectl apply -f -``: the Secrets that k8s/ expects.

What must be chosen (where the database, Valkey and the blob store are) comes from the environment; everything else is
made once and kept in ``.crewmesh/kubernetes/secrets.json``, so that a second run changes nothing.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from crewmesh_tools.deploy import monitor
from crewmesh_tools.deploy.files import read_flat
from crewmesh_tools.mesh.daprfile import read_dapr_file
from crewmesh_tools.mesh.errors import MeshError
from crewmesh_tools.mesh.layout import default_dapr_file
from crewmesh_tools.mesh.secrets import Secrets, Servers, load_or_make, write_private

NAMESPACE = "crewmesh"
FOLDER = Path(".crewmesh") / "kubernetes"
BLOBS = ("bucket", "region", "endpoint", "access-key", "secret-key")
# Of Kong and of who watches, who must not become parties that can sign identities: kept apart from those of services.
EDGE_SECRETS = ("dapr-api-token-kong", "edge-token", "edge-valkey-password", "monitor-password")
_TOKENS = ("dapr-api-token-", "app-api-token-")
# Each is a part of a URL already; nobody reads it by itself.
_NOT_READ = ("database-password-", "monitor-password")


def main() -> int:
    dapr_file = default_dapr_file()
    try:
        apps = [app.app_id for app in read_dapr_file(dapr_file)]
        values = flat_secrets(dapr_file.parent / FOLDER, apps, os.environ)
    except MeshError as error:
        print(f"kubernetes: {error}", file=sys.stderr)
        return 1
    sys.stdout.write(yaml.safe_dump_all(manifests(values), sort_keys=False))
    return 0


def flat_secrets(folder: Path, apps: Sequence[str], environ: Mapping[str, str]) -> dict[str, str]:
    wanted = ("DATABASE_URL", "REDIS_URL", *(_variable(part) for part in BLOBS))
    missing = [name for name in wanted if not environ.get(name)]
    if missing:
        raise MeshError(f"{', '.join(missing)} must be set; docs/operate/kubernetes.md says to what.")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    at = Servers(database_admin_url=environ["DATABASE_URL"], redis_port=6379, redis_url=environ["REDIS_URL"])
    kept = load_or_make(folder / "secrets.json", apps, at)
    edge_file = folder / "edge.json"
    edge = Secrets(read_flat(edge_file) if edge_file.exists() else {})
    for name in EDGE_SECRETS:
        edge.once(name, lambda: secrets.token_hex(24))
    write_private(edge_file, edge.values)
    chosen = {f"blobs-{part}": environ[_variable(part)] for part in BLOBS}
    model_key = {"model-api-key": environ.get("CREWMESH_MODEL__API_KEY") or kept["model-api-key"]}
    databases = {
        "database-admin-url": environ["DATABASE_URL"],
        monitor.SECRET: monitor.monitor_url(environ["DATABASE_URL"], edge["monitor-password"]),
    }
    return {**kept.values, **edge.values, **chosen, **model_key, **databases}


def manifests(values: Mapping[str, str]) -> list[dict[str, object]]:
    """One Secret for each name. Dapr wants a token under the key ``token``; the rest are found under their own name."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app.kubernetes.io/part-of": "crewmesh"}},
            "type": "Opaque",
            "stringData": {"token" if name.startswith(_TOKENS) else name: value},
        }
        for name, value in sorted(values.items())
        if not name.startswith(_NOT_READ)
    ]


def _variable(part: str) -> str:
    return f"BLOBS_{part.upper().replace('-', '_')}"


if __name__ == "__main__":
    sys.exit(main())
