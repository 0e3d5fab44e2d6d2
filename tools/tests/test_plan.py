"""What is started, and with what: the commands and environments worked out from dapr.yaml and the secrets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from crewmesh_tools.mesh.apps import app_spec, sidecar_spec, write_names
from crewmesh_tools.mesh.control_plane import control_plane
from crewmesh_tools.mesh.daprfile import App, read_dapr_file
from crewmesh_tools.mesh.layout import Layout, default_dapr_file
from crewmesh_tools.mesh.secrets import Secrets, Servers, load_or_make
from crewmesh_tools.mesh.specs import ProcessSpec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

BINARIES = Path("/opt/dapr")


@pytest.fixture
def shifted(tmp_path: Path) -> Layout:
    made = Layout(default_dapr_file(), tmp_path, 10_000)
    made.state.mkdir()
    return made


@pytest.fixture
def apps() -> tuple[App, ...]:
    return read_dapr_file(default_dapr_file())


@pytest.fixture
def secrets(shifted: Layout, apps: tuple[App, ...]) -> Secrets:
    servers = Servers("postgresql://postgres:x@127.0.0.1:15480/postgres", redis_port=16380)
    return load_or_make(shifted.secrets_file, [app.app_id for app in apps], servers)


def option(spec: ProcessSpec, name: str) -> str:
    return spec.command[spec.command.index(name) + 1]


def test_every_port_is_shifted(shifted: Layout, apps: tuple[App, ...], secrets: Secrets) -> None:
    sidecar = sidecar_spec(shifted, apps[0], secrets, BINARIES / "daprd", ())
    assert option(sidecar, "--app-port") == "18080"
    assert option(sidecar, "--dapr-http-port") == "13500"
    assert option(sidecar, "--sentry-address") == "localhost:19300"
    assert sidecar.ports == (13500, 14500, 15500, 19190)


def test_sidecars_use_mtls_tokens_and_only_this_machine(
    shifted: Layout, apps: tuple[App, ...], secrets: Secrets
) -> None:
    for app in apps:
        sidecar = sidecar_spec(shifted, app, secrets, BINARIES / "daprd", ())
        assert "--enable-mtls" in sidecar.command
        assert sidecar.env_files == {"DAPR_TRUST_ANCHORS": shifted.trust_anchors}
        assert sidecar.env["DAPR_API_TOKEN"] != sidecar.env["APP_API_TOKEN"]
        listening = [
            value for name, value in zip(sidecar.command, sidecar.command[1:], strict=False) if "listen" in name
        ]
        assert listening == ["127.0.0.1"] * 3


def test_apps_get_what_dapr_run_gives_them(
    shifted: Layout, apps: tuple[App, ...], secrets: Secrets, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAPR_API_TOKEN", "of another app in this shell")
    monkeypatch.setenv("CREWMESH_ENVIRONMENT", "production")
    app = app_spec(shifted, apps[1], secrets, (), {"CREWMESH_OUTBOUND__MESH_PORTS": "1,2"})
    assert app.env["APP_ID"] == "workflow"
    assert app.env["APP_PORT"] == "18081"
    assert app.env["DAPR_HTTP_PORT"] == "13501"
    assert app.env["DAPR_API_TOKEN"] == secrets["dapr-api-token-workflow"]
    assert app.env["CREWMESH_OUTBOUND__MESH_PORTS"] == "1,2"
    assert app.env["CREWMESH_ENVIRONMENT"] == "production", "the shell wins over dapr.yaml"
    assert app.cwd == default_dapr_file().parent / "services" / "workflow"


def test_sidecars_find_each_other_in_a_table(shifted: Layout, apps: tuple[App, ...]) -> None:
    write_names(shifted, apps)
    written = yaml.safe_load(shifted.names_file.read_text())
    template = written["spec"]["nameResolution"]["configuration"]["template"]
    assert '{{ if eq .ID "knowledge" }}127.0.0.1:15504{{ end }}' in template
    assert "$" not in template, "daprd would put a variable there"


def test_the_scheduler_keeps_little(shifted: Layout) -> None:
    sentry, _, scheduler = control_plane(shifted, BINARIES)
    assert option(scheduler, "--etcd-compaction-retention") == "2m"
    assert scheduler.env["TMPDIR"] == str(shifted.state / "tmp"), "two meshes must not share identity files"
    assert Path(option(sentry, "--config")).exists()


@pytest.mark.parametrize(("days", "kept"), [(3, False), (90, True)])
def test_certificates_that_run_out_are_made_anew(shifted: Layout, days: int, kept: bool) -> None:
    shifted.issuer.mkdir()
    for name in ("ca.crt", "issuer.crt"):
        (shifted.issuer / name).write_bytes(certificate(days))
    control_plane(shifted, BINARIES)
    assert (shifted.issuer / "ca.crt").exists() is kept


def certificate(days: int) -> bytes:
    key = generate_private_key(SECP256R1())
    name = x509.Name([])
    now = datetime.now(UTC)
    blank = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    dated = blank.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=days))
    signed = dated.serial_number(x509.random_serial_number()).sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)
