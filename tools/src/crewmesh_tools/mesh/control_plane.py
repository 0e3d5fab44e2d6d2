"""Dapr's own services: sentry hands out identities, placement knows where actors live, the scheduler reminds."""

from __future__ import annotations

import os
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from crewmesh_tools.mesh import layout as at
from crewmesh_tools.mesh.layout import Layout
from crewmesh_tools.mesh.probes import http_check
from crewmesh_tools.mesh.specs import ProcessSpec

TIER = 1
# Gently even when the supervisor is gone: a scheduler that is cut off leaves a lease behind, and the next one has to
# wait until that has run out (twenty seconds).
_ORPHANED = signal.SIGTERM
_LOCAL = "127.0.0.1"
_SENTRY_CONFIGURATION = """\
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata:
  name: sentry
spec:
  mtls:
    enabled: true
    workloadCertTTL: 24h
    allowedClockSkew: 15m
"""
# A sidecar refuses a chain that has run out; a new one is made while the old one still has this long.
_RENEW_BEFORE = timedelta(days=14)


def control_plane(layout: Layout, binaries: Path) -> tuple[ProcessSpec, ...]:
    layout.issuer.mkdir(mode=0o700, parents=True, exist_ok=True)
    _drop_old_issuer(layout)
    layout.sentry_file.write_text(_SENTRY_CONFIGURATION, encoding="utf-8")
    return (_sentry(layout, binaries), _placement(layout, binaries), _scheduler(layout, binaries))


def go_environment(layout: Layout, **more: str) -> dict[str, str]:
    """What the Dapr programs need of ours. A higher GC frequency costs little here and keeps idle memory low.

    They put identity files under a fixed name into the temporary folder, where those of another mesh, or another user,
    would be in the way: so each mesh has its own.
    """
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TZ") if name in os.environ}
    telemetry = {name: value for name, value in os.environ.items() if name.startswith("OTEL_")}
    fixed = {"GOGC": os.environ.get("GOGC", "60"), "NAMESPACE": "default", "TMPDIR": str(layout.temporary)}
    return {**fixed, **kept, **telemetry, **more}


def _sentry(layout: Layout, binaries: Path) -> ProcessSpec:
    ports = tuple(map(layout.port, (at.SENTRY_PORT, at.SENTRY_HEALTH, at.SENTRY_METRICS)))
    return ProcessSpec(
        name="sentry",
        command=(
            str(binaries / "sentry"),
            *("--mode", "standalone", "--issuer-credentials", str(layout.issuer), "--trust-domain", "localhost"),
            *("--config", str(layout.sentry_file)),
            *_addresses(*ports),
        ),
        env=go_environment(layout),
        cwd=layout.home,
        port=ports[0],
        ports=ports,
        check=http_check(ports[1], "/healthz"),
        orphan_signal=_ORPHANED,
        tier=TIER,
    )


def _placement(layout: Layout, binaries: Path) -> ProcessSpec:
    ports = tuple(map(layout.port, (at.PLACEMENT_PORT, at.PLACEMENT_HEALTH, at.PLACEMENT_METRICS)))
    raft = layout.port(at.PLACEMENT_RAFT)
    return ProcessSpec(
        name="placement",
        command=(
            *(str(binaries / "placement"), "--id", "dapr-placement-0"),
            *("--initial-cluster", f"dapr-placement-0={_LOCAL}:{raft}"),
            *_secured(layout),
            *_addresses(*ports),
        ),
        env=go_environment(layout),
        cwd=layout.home,
        port=ports[0],
        ports=(*ports, raft),
        check=http_check(ports[1], "/healthz"),
        orphan_signal=_ORPHANED,
        needs=("sentry",),
        tier=TIER,
    )


def _scheduler(layout: Layout, binaries: Path) -> ProcessSpec:
    ports = tuple(map(layout.port, (at.SCHEDULER_PORT, at.SCHEDULER_HEALTH, at.SCHEDULER_METRICS)))
    client, peer = layout.port(at.ETCD_CLIENT), layout.port(at.ETCD_PEER)
    return ProcessSpec(
        name="scheduler",
        command=(
            *(str(binaries / "scheduler"), "--id", "dapr-scheduler-server-0"),
            *("--etcd-data-dir", str(layout.state / "scheduler")),
            *("--etcd-initial-cluster", f"dapr-scheduler-server-0=http://{_LOCAL}:{peer}"),
            *("--etcd-client-listen-address", _LOCAL, "--etcd-client-port", str(client)),
            *("--override-broadcast-host-port", f"{_LOCAL}:{ports[0]}"),
            *_etcd_bounds(),
            *_secured(layout),
            *_addresses(*ports),
        ),
        env=go_environment(layout),
        cwd=layout.home,
        port=ports[0],
        ports=(*ports, client, peer),
        check=http_check(ports[1], "/healthz"),
        orphan_signal=_ORPHANED,
        needs=("sentry",),
        tier=TIER,
    )


def _etcd_bounds() -> tuple[str, ...]:
    """Every workflow step writes and deletes reminders: without these the store keeps each of them for long."""
    return (
        *("--etcd-compaction-mode", "periodic", "--etcd-compaction-retention", "2m"),
        *("--etcd-snapshot-count", "5000", "--etcd-max-snapshots", "2", "--etcd-max-wals", "2"),
        *("--etcd-experimental-bootstrap-defrag-threshold-megabytes", "64"),
    )


def _secured(layout: Layout) -> tuple[str, ...]:
    return (
        *("--tls-enabled", "--trust-domain", "localhost", "--trust-anchors-file", str(layout.trust_anchors)),
        *("--sentry-address", f"{_LOCAL}:{layout.port(at.SENTRY_PORT)}"),
    )


def _addresses(port: int, health: int, metrics: int) -> tuple[str, ...]:
    return (
        *("--port", str(port), "--listen-address", _LOCAL),
        *("--healthz-port", str(health), "--healthz-listen-address", _LOCAL),
        *("--metrics-port", str(metrics), "--metrics-listen-address", _LOCAL, "--log-as-json"),
    )


def _drop_old_issuer(layout: Layout) -> None:
    certificates = [layout.issuer / name for name in ("ca.crt", "issuer.crt")]
    soon = datetime.now(UTC) + _RENEW_BEFORE
    for path in certificates:
        if path.exists() and x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc < soon:
            for stale in layout.issuer.iterdir():
                stale.unlink()
            return
