"""What compose and Kubernetes have in common: images, Dockerfiles, and what is made for them beforehand."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit
from urllib.request import urlopen

import psycopg
import pytest
from crewmesh_testkit.ports import free_port
from crewmesh_testkit.servers import running_postgres
from crewmesh_tools import compose
from crewmesh_tools.dapr_runtime import ensure_dapr
from crewmesh_tools.deploy import bootstrap, kubernetes, monitor
from crewmesh_tools.deploy.compose import prepare
from crewmesh_tools.deploy.files import read_flat, write_variables
from crewmesh_tools.deploy.issuer import ensure_issuer
from crewmesh_tools.mesh.errors import MeshError
from crewmesh_tools.servers.postgres import service_url

from tests.contract.kustomize import render
from tests.rules.repository import ROOT, SERVICES, Mapping, at, documents, mappings, strings

DOCKERFILES = [ROOT / "services" / app / "Dockerfile" for app in SERVICES]
IMAGES = [*DOCKERFILES, ROOT / "tools/Dockerfile", ROOT / "services/agent-crew/embedded-model/Dockerfile"]
CHOSEN = {
    "DATABASE_URL": "postgresql://admin:pw@db.example:5432/postgres",
    "REDIS_URL": "redis://:pw@redis.example:6379/0",
    "BLOBS_BUCKET": "crewmesh",
    "BLOBS_REGION": "eu-central-1",
    "BLOBS_ENDPOINT": "https://s3.example",
    "BLOBS_ACCESS_KEY": "id",
    "BLOBS_SECRET_KEY": "key",
}


def without_names(path: Path) -> str:
    """The Dockerfile with everything taken away in which services differ for a reason."""
    app = path.parent.name
    (port,) = re.findall(r"^EXPOSE (\d+)$", path.read_text(), re.M)
    text = re.sub(r" \\\n    # Only the vocabulary.*\n    && rm -f \S+", "", path.read_text())
    text = re.sub(r"^# .*\n", "", text)
    return text.replace(app, "APP").replace(app.replace("-", "_"), "APP").replace(port, "PORT")


@contextmanager
def running_sentry(issuer: Path) -> Generator[None]:
    """The real sentry on these credentials, with the configuration of the compose stack."""
    binary = ensure_dapr(ROOT / "dapr-config" / "runtime") / "sentry"
    ports = {name: free_port() for name in ("port", "healthz-port", "metrics-port")}
    command = [str(binary), "--mode=standalone", f"--issuer-credentials={issuer}", "--trust-domain=localhost"]
    command += [f"--config={ROOT / 'dapr-config/compose/sentry.yaml'}", "--listen-address=127.0.0.1"]
    command += [f"--{name}={port}" for name, port in ports.items()]
    command += ["--healthz-listen-address=127.0.0.1", "--metrics-listen-address=127.0.0.1"]
    with subprocess.Popen(command, env={"NAMESPACE": "default"}, stdout=subprocess.PIPE, text=True) as process:
        try:
            wait_until_healthy(f"http://127.0.0.1:{ports['healthz-port']}/healthz", process)
            yield
        finally:
            process.terminate()
            process.communicate(timeout=60)


def wait_until_healthy(url: str, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline, "sentry does not become healthy"
        try:
            with urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.05)


def named_secrets(one: Mapping) -> set[tuple[str, str]]:
    """(name, key) of every Secret an object asks for."""
    found: set[tuple[str, str]] = set()
    pod = at(one, "spec.template.spec")
    for container in mappings(at(pod, "initContainers")) + mappings(at(pod, "containers")):
        for variable in mappings(container.get("env")):
            if reference := at(variable, "valueFrom.secretKeyRef"):
                found.add((str(at(reference, "name")), str(at(reference, "key"))))
    for volume in mappings(at(one, "spec.template.spec.volumes")):
        for source in mappings(at(volume, "projected.sources")):
            if name := at(source, "secret.name"):
                found.add((str(name), str(name)))
    for entry in mappings(at(one, "spec.metadata")):
        if reference := at(entry, "secretKeyRef"):
            found.add((str(at(reference, "name")), str(at(reference, "key"))))
    for scope in mappings(at(one, "spec.secrets.scopes")):
        found |= {(name, name) for name in strings(scope["allowedSecrets"])}
    return found


def test_the_services_are_built_alike() -> None:
    assert len({without_names(path) for path in DOCKERFILES}) == 1


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: str(path.parent.relative_to(ROOT)))
def test_an_image_is_pinned_and_runs_as_nobody_in_particular(path: Path) -> None:
    text = path.read_text()
    for image in re.findall(r"^FROM (\S+)", text, re.M):
        assert re.search(r":\d+\.\d+\.\d+-", image), image
    assert re.findall(r"^USER (\S+)$", text, re.M)[-1] in ("10001", "1000")
    assert "COPY --from=ghcr.io" not in text


def test_all_images_are_of_the_same_uv_as_setup() -> None:
    (pinned,) = re.findall(r'UV_VERSION = "(.+)"', (ROOT / "tools" / "setup.py").read_text())
    used = {version for path in IMAGES for version in re.findall(r"uv==(\S+)", path.read_text())}
    assert used == {pinned}


def test_compose_and_kubernetes_run_the_same_images() -> None:
    (stack,) = documents(ROOT / "docker-compose.yml")
    services = stack["services"]
    assert isinstance(services, dict)
    here = {str(at(container, "image")) for container in services.values()}
    there = {
        str(container["image"])
        for one in render(ROOT / "k8s" / "base")
        for container in mappings(at(one, "spec.template.spec.containers"))
    }
    assert there <= here


class TestIssuer:
    def test_sentry_takes_it_and_changes_nothing(self, tmp_path: Path) -> None:
        root = ensure_issuer(tmp_path / "issuer", trust_domain="localhost", namespace="default")
        before = read_flat(tmp_path / "issuer")
        with running_sentry(tmp_path / "issuer"):
            assert read_flat(tmp_path / "issuer") == before
        assert ensure_issuer(tmp_path / "issuer", trust_domain="localhost", namespace="default") == root

    def test_a_lost_part_makes_a_new_one(self, tmp_path: Path) -> None:
        first = ensure_issuer(tmp_path, trust_domain="localhost", namespace="default")
        (tmp_path / "issuer.key").unlink()
        assert ensure_issuer(tmp_path, trust_domain="localhost", namespace="default") != first


class TestMakeCompose:
    def test_without_docker_it_says_so_and_makes_nothing(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        assert compose.main() == 1
        assert "Docker is not installed" in capsys.readouterr().err


class TestComposeSecrets:
    def test_a_second_run_keeps_every_value(self, tmp_path: Path) -> None:
        folder = prepare(tmp_path, SERVICES)
        before = {path: path.read_text() for path in folder.rglob("*") if path.is_file()}
        prepare(tmp_path, SERVICES)
        assert {path: path.read_text() for path in folder.rglob("*") if path.is_file()} == before

    def test_they_name_the_hosts_of_the_network(self, tmp_path: Path) -> None:
        values = read_flat(prepare(tmp_path, SERVICES) / "secrets.json")
        assert {urlsplit(values[f"database-url-{app}"]).hostname for app in SERVICES} == {"postgres"}
        assert values["redis-host"] == "valkey:6379"
        assert urlsplit(values["redis-url"]).password == values["redis-password"]

    def test_kong_is_not_a_party_that_can_sign_identities(self, tmp_path: Path) -> None:
        folder = prepare(tmp_path, SERVICES)
        assert "kong" not in (folder / "secrets.json").read_text()
        assert "DAPR_API_TOKEN=" in (folder / "kong.env").read_text()

    def test_what_an_env_file_would_garble_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="PASSWORD"):
            write_variables(tmp_path / "x.env", {"PASSWORD": "a$b"})


class TestBootstrap:
    def test_roles_own_their_schema_and_log_in_with_the_password_of_their_url(self, tmp_path: Path) -> None:
        # A server of its own: roles belong to a whole server, and those of other tests have other passwords.
        with running_postgres(tmp_path / "pg") as postgres:
            admin_url = postgres.launcher.admin_url
            secrets = {
                "database-url-agent-crew": service_url(admin_url, "agent-crew", "a b/c"),
                "workflowstore-url": service_url(admin_url, "workflowstore", "pw"),
                monitor.SECRET: monitor.monitor_url(admin_url, "watching"),
            }
            folder = tmp_path / "secrets"
            folder.mkdir()
            for name, value in secrets.items():
                (folder / name).write_text(value + "\n")
            for _ in range(2):
                assert bootstrap.run({"DATABASE_URL": admin_url}, [str(folder)]) == ["agent-crew", "workflowstore"]
            with psycopg.connect(secrets["database-url-agent-crew"]) as connection:
                row = connection.execute("SELECT current_schema(), current_user").fetchone()
                assert row == ("agent_crew", "agent_crew")
                connection.execute("CREATE TABLE kept ()")
            with psycopg.connect(secrets[monitor.SECRET]) as connection:
                seen = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE query <> ''").fetchone()
                assert seen is not None
                assert cast("int", seen[0]) > 0, "it sees what others ask"
                assert connection.execute("SELECT pg_database_size('crewmesh') > 0").fetchone() == (True,)
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                psycopg.connect(str(monitor.monitor_url(service_url(admin_url, "agent-crew", ""), "watching")))

    @pytest.mark.parametrize(
        ("name", "url"),
        [
            ("another role", "postgresql://somebody:pw@db/crewmesh"),
            ("another database", "postgresql://knowledge:pw@db/other"),
            ("no password", "postgresql://knowledge@db/crewmesh"),
        ],
    )
    def test_a_url_that_the_service_could_not_use_is_refused(self, name: str, url: str) -> None:
        with pytest.raises(bootstrap.BootstrapError, match="knowledge"):
            bootstrap.role_passwords({"database-url-knowledge": url, "workflowstore-url": url})


class TestKubernetesSecrets:
    def test_every_secret_that_a_manifest_names_is_made(self, tmp_path: Path) -> None:
        manifests = cast("list[Mapping]", kubernetes.manifests(kubernetes.flat_secrets(tmp_path, SERVICES, CHOSEN)))
        made = {str(at(one, "metadata.name")): at(one, "stringData") for one in manifests}
        wanted = set[tuple[str, str]]()
        for one in render(ROOT / "k8s" / "base"):
            wanted |= named_secrets(one)
        assert len(wanted) > 20
        for name, key in wanted:
            data = made.get(name)
            assert isinstance(data, dict), name
            assert key in data, f"{name}: {key}"

    def test_a_second_run_changes_nothing(self, tmp_path: Path) -> None:
        first = kubernetes.flat_secrets(tmp_path, SERVICES, CHOSEN)
        assert kubernetes.flat_secrets(tmp_path, SERVICES, CHOSEN) == first

    def test_what_must_be_chosen_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(MeshError, match="REDIS_URL, BLOBS_BUCKET"):
            kubernetes.flat_secrets(tmp_path, SERVICES, {"DATABASE_URL": "postgresql://a:b@c/d"})
