"""Secrets of one mesh: made at its first start, kept afterwards, readable by their owner only.

Passwords and keys stay what they were; what follows from them (URLs, the public key set) is computed again at every
start, because a port or a server may have changed. The file is also Dapr's secret store, so its keys are flat.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

from crewmesh_contracts import api_keys
from joserfc.jwk import KeySet, OKPKey

from crewmesh_tools.mesh.errors import MeshError
from crewmesh_tools.servers.postgres import service_url

WORKFLOW_STORE = "workflowstore"
# Kept under a name of its own: redis-password is that of the server in use, which may be somebody's own for a while.
EMBEDDED_REDIS_PASSWORD = "valkey-password"


@dataclass(frozen=True, slots=True)
class Servers:
    """Where PostgreSQL and Valkey are reached: the embedded ones or somebody's own."""

    database_admin_url: str
    redis_port: int
    redis_url: str | None = None  # None: the embedded one, whose password is ours


class Secrets:
    """The flat map, with a way to make what is missing."""

    def __init__(self, known: Mapping[str, str]) -> None:
        self.values = dict(known)

    def __getitem__(self, name: str) -> str:
        return self.values[name]

    def once(self, name: str, make: Callable[[], str]) -> str:
        if name not in self.values:
            self.values[name] = make()
        return self.values[name]


def load_or_make(path: Path, apps: Sequence[str], servers: Servers) -> Secrets:
    kept = Secrets(read_secrets(path))
    _passwords(kept, apps)
    _identity_keys(kept, apps)
    kept.once("first-run-api-key", api_keys.new_text)
    kept.once("webhook-signing-secret", lambda: "whsec_" + base64.b64encode(secrets.token_bytes(24)).decode())
    kept.once("hook-master-key", lambda: secrets.token_urlsafe(32))
    kept.once("provider-master-key", lambda: secrets.token_urlsafe(32))
    kept.once("session-master-key", lambda: secrets.token_urlsafe(32))
    kept.once("model-api-key", str)
    _addresses(kept, apps, servers)
    write_private(path, kept.values)
    return kept


def _passwords(kept: Secrets, apps: Sequence[str]) -> None:
    for name in (EMBEDDED_REDIS_PASSWORD, f"database-password-{WORKFLOW_STORE}"):
        kept.once(name, lambda: secrets.token_hex(24))
    for app in apps:
        for name in (f"database-password-{app}", f"dapr-api-token-{app}", f"app-api-token-{app}"):
            kept.once(name, lambda: secrets.token_hex(24))


def database_passwords(kept: Secrets, apps: Sequence[str]) -> dict[str, str]:
    """The password of every role the database must know."""
    return {name: kept[f"database-password-{name}"] for name in (*apps, WORKFLOW_STORE)}


def _identity_keys(kept: Secrets, apps: Sequence[str]) -> None:
    for app in apps:
        kept.once(f"identity-key-{app}", lambda app=app: _new_identity_key(app))
    keys = [OKPKey.import_key(json.loads(kept[f"identity-key-{app}"])) for app in apps]
    kept.values["identity-keys"] = json.dumps(KeySet(list(keys)).as_dict(private=False))


def _new_identity_key(app: str) -> str:
    key = OKPKey.generate_key("Ed25519", parameters={"kid": app, "use": "sig"})
    return json.dumps(key.as_dict(private=True))


def _addresses(kept: Secrets, apps: Sequence[str], servers: Servers) -> None:
    for app in apps:
        kept.values[f"database-url-{app}"] = service_url(
            servers.database_admin_url, app, kept[f"database-password-{app}"]
        )
    password = kept[f"database-password-{WORKFLOW_STORE}"]
    kept.values["workflowstore-url"] = service_url(servers.database_admin_url, WORKFLOW_STORE, password)
    if servers.redis_url is None:
        kept.values["redis-host"] = f"127.0.0.1:{servers.redis_port}"
        kept.values["redis-password"] = kept[EMBEDDED_REDIS_PASSWORD]
        kept.values["redis-url"] = f"redis://:{kept['redis-password']}@127.0.0.1:{servers.redis_port}/0"
        return
    theirs = urlsplit(servers.redis_url)
    kept.values["redis-host"] = f"{theirs.hostname}:{theirs.port or 6379}"
    kept.values["redis-password"] = theirs.password or ""
    kept.values["redis-url"] = servers.redis_url


def read_secrets(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): str(value) for name, value in cast("dict[object, object]", known).items()}
    except (ValueError, AttributeError) as error:
        raise MeshError(
            f"{path} is damaged, and without it the data cannot be opened. "
            f"Restore it, or remove {path.parent} to start anew."
        ) from error


def write_private(path: Path, values: Mapping[str, str]) -> None:
    """Atomically, and never readable by others, not even for a moment."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(dict(values), file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
