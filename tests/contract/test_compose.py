"""docker-compose.yml is true to the mesh of dapr.yaml, and every program in it understands what it is told."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest
from crewmesh_tools.dapr_runtime import ensure_dapr
from crewmesh_tools.deploy.compose import prepare
from crewmesh_tools.deploy.files import read_flat

from tests.rules.repository import ROOT, SERVICES, Mapping, at, documents, mappings, strings

FILE = ROOT / "docker-compose.yml"
STACK = documents(FILE)[0]
CONTAINERS = cast("dict[str, Mapping]", STACK["services"])
DAPR_PROGRAMS = ("daprd", "sentry", "placement", "scheduler")
LOCAL_APPS = {str(app["appID"]): app for app in mappings(documents(ROOT / "dapr.yaml")[0]["apps"])}


def flags(container: str) -> dict[str, list[str]]:
    """--flag=value of its command; a flag without a value has an empty one."""
    found: dict[str, list[str]] = {}
    for argument in strings(CONTAINERS[container]["command"])[1:]:
        name, _, value = argument.partition("=")
        found.setdefault(name, []).append(value)
    return found


def mounts(container: str) -> list[tuple[str, str]]:
    """(source, target) of what is mounted from the repository."""
    pairs = [volume.split(":")[:2] for volume in strings(CONTAINERS[container].get("volumes"))]
    return [(source, target) for source, target in pairs if source.startswith(".")]


def test_the_file_is_what_compose_understands() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("check-jsonschema")), "--builtin-schema", "vendor.compose-spec", str(FILE)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_is_pinned_and_holds_nothing_it_does_not_need(name: str) -> None:
    container = CONTAINERS[name]
    tag = str(container["image"]).rpartition(":")[2]
    assert re.match(r"v?\d+\.\d+", tag), container["image"]
    assert re.match(r"\$\{CREWMESH_UID:-10001\}|[1-9]\d*:", str(container["user"])), "it would run as root"
    assert container["read_only"] is True
    assert container["cap_drop"] == ["ALL"]
    assert container["security_opt"] == ["no-new-privileges:true"]


def test_kong_is_published_and_the_rest_to_this_machine_at_most() -> None:
    published = {name: strings(container["ports"]) for name, container in CONTAINERS.items() if "ports" in container}
    assert published == {
        "kong-pod": ["${CREWMESH_BIND:-127.0.0.1}:8080:8000"],
        "grafana": ["127.0.0.1:3000:3000"],
        "mailpit": ["127.0.0.1:8025:8025"],
    }


@pytest.mark.parametrize("app", SERVICES)
def test_an_app_is_the_same_as_in_the_multi_app_file(app: str) -> None:
    local, told = LOCAL_APPS[app], flags(f"{app}-dapr")
    assert told["--app-id"] == [app]
    for flag, key in {
        "--app-port": "appPort",
        "--dapr-http-port": "daprHTTPPort",
        "--dapr-grpc-port": "daprGRPCPort",
        "--metrics-port": "metricsPort",
    }.items():
        assert told[flag] == [str(local[key])]
    common = cast("Mapping", documents(ROOT / "dapr.yaml")[0]["common"])
    assert told["--resources-path"] == common["resourcesPaths"]
    assert told["--config"][-1] == f"dapr-config/{app}.yaml", "the last one names the configuration"
    assert told["--max-body-size"] == [common["maxBodySize"]]
    assert told["--read-buffer-size"] == [common["readBufferSize"]]
    variables = cast("Mapping", CONTAINERS[app]["environment"])
    assert variables["APP_PORT"] == str(local["appPort"])
    assert variables["DAPR_HTTP_PORT"] == str(local["daprHTTPPort"])
    assert variables["DAPR_GRPC_PORT"] == str(local["daprGRPCPort"])
    assert variables["CREWMESH_ENVIRONMENT"] == "production"


@pytest.mark.parametrize("app", [*SERVICES, "kong"])
def test_an_app_and_its_sidecar_share_a_network_that_outlives_both(app: str) -> None:
    pod = f"{app}-pod"
    assert CONTAINERS[app]["network_mode"] == CONTAINERS[f"{app}-dapr"]["network_mode"] == f"service:{pod}"
    assert at(CONTAINERS[pod], "networks.default.aliases") == [app], "the name its sidecar is found by"
    # Started after, and so stopped before: an app that is stopping still needs its sidecar.
    assert f"{app}-dapr" in cast("Mapping", CONTAINERS[app]["depends_on"])
    assert pod in cast("Mapping", CONTAINERS[f"{app}-dapr"]["depends_on"])


@pytest.mark.parametrize("container", [*(f"{app}-dapr" for app in (*SERVICES, "kong")), *DAPR_PROGRAMS[1:]])
def test_dapr_understands_every_flag(container: str) -> None:
    program = strings(CONTAINERS[container]["command"])[0].strip("/")
    binary = ensure_dapr(ROOT / "dapr-config" / "runtime") / program
    told = subprocess.run([str(binary), "--help"], capture_output=True, text=True, check=False)
    known = set(re.findall(r"--[a-z0-9-]+", told.stdout + told.stderr))
    assert set(flags(container)) <= known


@pytest.mark.parametrize("app", [*SERVICES, "kong"])
def test_a_sidecar_finds_its_files_from_the_folder_it_works_in(app: str) -> None:
    sidecar = CONTAINERS[f"{app}-dapr"]
    targets = dict(mounts(f"{app}-dapr"))
    for path in [*flags(f"{app}-dapr")["--config"], *flags(f"{app}-dapr").get("--resources-path", [])]:
        assert (ROOT / path).exists()
        assert f"{sidecar['working_dir']}/{path.split('/')[0]}" in "".join(targets.values())


@pytest.mark.parametrize("app", SERVICES)
def test_who_has_the_blob_store_may_write_to_its_folder(app: str) -> None:
    scopes = strings(documents(ROOT / "components" / "local" / "blobs.yaml")[0]["scopes"])
    assert ("/mesh/.crewmesh/blobs" in {target for _, target in mounts(f"{app}-dapr")}) is (app in scopes)


def test_the_object_store_is_asked_for_as_in_kubernetes(tmp_path: Path) -> None:
    here = documents(ROOT / "components" / "compose" / "blobs.yaml")[0]
    there = documents(ROOT / "components" / "k8s" / "blobs.yaml")[0]
    assert {**there, "metadata": {"name": "blobs"}} == here
    known = read_flat(prepare(tmp_path, SERVICES) / "secrets.json")
    for entry in mappings(at(here, "spec.metadata")):
        assert "value" in entry or str(at(entry, "secretKeyRef.key")) in known
    assert known["blobs-endpoint"] == "http://objects:7070"
    command = strings(CONTAINERS["objects"]["command"])
    assert command[command.index("--port") + 1] == ":7070"
    (place,) = [target for _, target in mounts("objects")]
    assert command[-1] == place
    assert (tmp_path / ".crewmesh/compose/objects" / known["blobs-bucket"]).is_dir(), "a folder is a bucket"


def test_the_programs_of_dapr_are_of_the_pinned_version() -> None:
    pinned = re.search(r"github\.com/dapr/dapr v(\S+)", (ROOT / "dapr-config/runtime/go.mod").read_text())
    assert pinned
    images = [str(c["image"]) for c in CONTAINERS.values() if str(c["image"]).startswith("daprio/")]
    assert {image.rpartition(":")[2] for image in images} == {pinned[1]}


def test_everything_that_is_mounted_exists_or_is_made_beforehand(tmp_path: Path) -> None:
    """A missing source would be made by Docker: an empty folder, owned by root."""
    made = prepare(tmp_path, SERVICES)
    for name, container in CONTAINERS.items():
        of_secrets = [str(at(STACK, f"secrets.{secret}.file")) for secret in strings(container.get("secrets"))]
        for source in [source for source, _ in mounts(name)] + strings(container.get("env_file")) + of_secrets:
            path = Path(source)
            base = tmp_path if path.parts[0] == ".crewmesh" else ROOT
            assert (base / path).exists(), f"{name}: {source}"
    readable = [path for path in made.rglob("*") if path.is_file() and path.stat().st_mode & 0o077]
    assert readable == []


def test_the_file_holds_no_secret() -> None:
    for name, container in CONTAINERS.items():
        for variable in cast("Mapping", container.get("environment") or {}):
            secret = re.search(r"TOKEN|PASSWORD|KEY|SECRET", variable) and not variable.endswith("_FILE")
            assert not secret, f"{name}: {variable} belongs in an env_file"
