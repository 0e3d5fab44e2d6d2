"""What docker-compose.yml mounts, made beforehand under ``.crewmesh/compose``: secrets, tokens, the authority.

The same generator as the local mesh's, with the host names of the compose network. A second run keeps every value.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from crewmesh_tools.deploy import monitor
from crewmesh_tools.deploy.files import read_flat, write_private_text, write_variables
from crewmesh_tools.deploy.issuer import ensure_issuer
from crewmesh_tools.mesh.secrets import Secrets, Servers, load_or_make, write_private

FOLDER = Path(".crewmesh") / "compose"
TRUST_DOMAIN, NAMESPACE = "localhost", "default"
# Who owns the files inside the containers when the stack is started by root: nothing runs as root.
CONTAINER_ID = 10001
_API_URL = "http://localhost:8080"
_BUCKET = "blobs"


@dataclass(frozen=True, slots=True)
class Owner:
    """The account containers run as, so that they can read files that only their owner may read."""

    uid: int
    gid: int


def owner() -> Owner:
    return Owner(os.getuid(), os.getgid()) if os.getuid() else Owner(CONTAINER_ID, CONTAINER_ID)


def prepare(repository: Path, apps: Sequence[str]) -> Path:
    """The folder with everything the stack mounts."""
    folder = repository / FOLDER
    # The object store takes the folders in its own for buckets.
    for each in (folder, folder / "blobs", folder / "scheduler", folder / "objects" / _BUCKET):
        each.mkdir(mode=0o700, parents=True, exist_ok=True)
    # What the backup command tells of itself; read by an account of its own, and nothing in it is secret.
    (folder.parent / "metrics").mkdir(exist_ok=True)
    servers = _server_passwords(folder)
    kept = _service_secrets(folder, apps, servers)
    root = ensure_issuer(folder / "issuer", trust_domain=TRUST_DOMAIN, namespace=NAMESPACE)
    _write_variables(folder, apps, kept, servers, root.decode().strip())
    write_private(
        folder / "credentials.json",
        {
            "api_url": _API_URL,
            "api_key": kept["first-run-api-key"],
            "webhook_secret": kept["webhook-signing-secret"],
        },
    )
    _give_to(folder, owner())
    return folder


def _server_passwords(folder: Path) -> Secrets:
    """Of what is not a service. Kong's tokens are here as well: it must not become a party that can sign identities."""
    path = folder / "servers.json"
    kept = Secrets(read_flat(path) if path.exists() else {})
    for name in (
        "postgres",
        "monitor",
        "valkey",
        "grafana",
        "dapr-api-token-kong",
        "edge-token",
        "edge-valkey-password",
    ):
        kept.once(name, lambda: secrets.token_hex(24))
    write_private(path, kept.values)
    return kept


def _service_secrets(folder: Path, apps: Sequence[str], servers: Secrets) -> Secrets:
    at = Servers(
        database_admin_url=_admin_url(servers),
        redis_port=6379,
        redis_url=f"redis://:{servers['valkey']}@valkey:6379/0",
    )
    kept = load_or_make(folder / "secrets.json", apps, at)
    # Of the object store beside it; whoever has one elsewhere says so in the file, and is left alone.
    for name, value in {"bucket": _BUCKET, "region": "us-east-1", "endpoint": "http://objects:7070"}.items():
        kept.once(f"blobs-{name}", lambda value=value: value)
    for name in ("access-key", "secret-key"):
        kept.once(f"blobs-{name}", lambda: secrets.token_hex(20))
    kept.values[monitor.SECRET] = monitor.monitor_url(_admin_url(servers), servers["monitor"])
    write_private(folder / "secrets.json", kept.values)
    return kept


def _admin_url(servers: Secrets) -> str:
    return f"postgresql://postgres:{servers['postgres']}@postgres:5432/postgres"


def _write_variables(folder: Path, apps: Sequence[str], kept: Secrets, servers: Secrets, root: str) -> None:
    for app in apps:
        tokens = {"DAPR_API_TOKEN": f"dapr-api-token-{app}", "APP_API_TOKEN": f"app-api-token-{app}"}
        variables = {name: kept[secret] for name, secret in tokens.items()}
        if app == "gateway":
            variables["CREWMESH_EDGE__TOKEN"] = servers["edge-token"]
        write_variables(folder / f"{app}.env", variables)
    edge = {
        "DAPR_API_TOKEN": servers["dapr-api-token-kong"],
        "CREWMESH_EDGE_TOKEN": servers["edge-token"],
        "EDGE_VALKEY_PASSWORD": servers["edge-valkey-password"],
    }
    write_variables(folder / "kong.env", edge)
    if not (folder / "mail.env").exists():  # whoever runs the stack names an SMTP server there
        write_variables(folder / "mail.env", {})
    write_variables(folder / "trust.env", {"DAPR_TRUST_ANCHORS": root})
    write_variables(folder / "postgres.env", {"POSTGRES_PASSWORD": servers["postgres"]})
    write_variables(folder / "bootstrap.env", {"DATABASE_URL": _admin_url(servers)})
    passwords = {"VALKEY_PASSWORD": servers["valkey"], "EDGE_VALKEY_PASSWORD": servers["edge-valkey-password"]}
    write_variables(folder / "valkey.env", passwords)
    keys = {"ROOT_ACCESS_KEY": kept["blobs-access-key"], "ROOT_SECRET_KEY": kept["blobs-secret-key"]}
    write_variables(folder / "objects.env", keys)
    # For programs that read files: the one reads a password as it stands, the other a JSON object of addresses.
    write_private_text(folder / "monitor.password", servers["monitor"])
    write_private(folder / "valkey.passwords", {"redis://valkey:6379": servers["valkey"]})
    write_variables(folder / "grafana.env", {"GF_SECURITY_ADMIN_PASSWORD": servers["grafana"]})


def _give_to(folder: Path, account: Owner) -> None:
    if os.getuid() != 0:
        return
    # The scheduler's data belong to the account already; walking them every time would take ever longer.
    for path in (folder, *folder.iterdir(), *(folder / "issuer").iterdir(), folder / "objects" / _BUCKET):
        os.chown(path, account.uid, account.gid)
