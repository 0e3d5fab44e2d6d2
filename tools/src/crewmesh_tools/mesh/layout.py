"""Where one mesh keeps its state and which ports it takes.

Everything a mesh writes is under ``HOME/.crewmesh``. Every port is a fixed number plus the mesh's offset, so that a
second mesh (a test's, say) can run beside the first. All stay below 32768, where the kernel hands out none by itself.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

HIGHEST_PORT = 32_767

GATEWAY_PORT = 8080
MODEL_PORT = 8090
POSTGRES_PORT = 5480
VALKEY_PORT = 6380
SENTRY_PORT, SENTRY_HEALTH, SENTRY_METRICS = 9300, 9301, 9302
PLACEMENT_PORT, PLACEMENT_HEALTH, PLACEMENT_METRICS, PLACEMENT_RAFT = 9310, 9311, 9312, 9313
SCHEDULER_PORT, SCHEDULER_HEALTH, SCHEDULER_METRICS, ETCD_CLIENT, ETCD_PEER = 9320, 9321, 9322, 9323, 9324


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths of one mesh."""

    dapr_file: Path
    home: Path
    offset: int = 0
    replicas: int = 1

    def port(self, base: int) -> int:
        return base + self.offset

    @property
    def repository(self) -> Path:
        return self.dapr_file.parent

    @property
    def runtime(self) -> Path:
        """The module that pins Dapr."""
        return self.repository / "dapr-config" / "runtime"

    @property
    def state(self) -> Path:
        return self.home / ".crewmesh"

    @property
    def logs(self) -> Path:
        return self.state / "logs"

    @property
    def secrets_file(self) -> Path:
        return self.state / "secrets.json"

    @property
    def credentials_file(self) -> Path:
        return self.state / "credentials.json"

    @property
    def mail(self) -> Path:
        """Mails lie here when no SMTP server takes them."""
        return self.state / "mail"

    @property
    def state_file(self) -> Path:
        return self.state / "mesh.json"

    @property
    def lock_file(self) -> Path:
        return self.state / "mesh.lock"

    @property
    def seeded_marker(self) -> Path:
        return self.state / "seeded"

    @property
    def temporary(self) -> Path:
        return self.state / "tmp"

    @property
    def issuer(self) -> Path:
        return self.state / "sentry"

    @property
    def trust_anchors(self) -> Path:
        return self.issuer / "ca.crt"

    @property
    def names_file(self) -> Path:
        return self.state / "names.yaml"

    @property
    def endpoints(self) -> Path:
        """Where each app's replicas listen, when there are several: a file per app."""
        return self.state / "endpoints"

    @property
    def sentry_file(self) -> Path:
        return self.state / "sentry.yaml"

    @property
    def api_url(self) -> str:
        return f"http://localhost:{self.port(GATEWAY_PORT)}"

    def supervisor_log(self) -> Path:
        return self.logs / "supervisor.log"

    def identity(self) -> str:
        """A short name of this home, for places that need a unique one."""
        return hashlib.sha256(str(self.home).encode()).hexdigest()[:12]


def default_dapr_file() -> Path:
    return Path(__file__).resolve().parents[4] / "dapr.yaml"
