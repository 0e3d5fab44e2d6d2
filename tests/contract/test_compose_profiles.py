"""What compose itself makes of the file: every combination of profiles, its limits, its variables."""

from __future__ import annotations

import json
import os
import re
import subprocess
from itertools import combinations
from pathlib import Path
from typing import cast

import pytest
from crewmesh_tools.checkers import ensure_checkers
from crewmesh_tools.deploy.compose import prepare

from tests.rules.repository import ROOT, SERVICES, Mapping, at, documents, mappings, strings

FILE = ROOT / "docker-compose.yml"
COLLECTOR = ROOT / "observability" / "otel-collector"
EXAMPLE = ROOT / ".env.example"
LOGS = ROOT / "docker-compose.logs.yml"
PROFILES = ("observability", "objects", "dev")
WATCHING = {
    "alertmanager",
    "grafana",
    "loki",
    "node-exporter",
    "otel-collector",
    "postgres-exporter",
    "prometheus",
    "tempo",
    "valkey-exporter",
}
# Variables of compose's own.
OF_COMPOSE = {"COMPOSE_PROFILES", "COMPOSE_FILE"}


@pytest.fixture(scope="module", name="repository")
def _repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compose file beside what is made for it: compose reads every env_file."""
    folder = tmp_path_factory.mktemp("compose")
    (folder / FILE.name).write_text(FILE.read_text())
    prepare(folder, SERVICES)
    return folder


def project(repository: Path, *profiles: str, **variables: str) -> Mapping:
    plain = {name: value for name, value in os.environ.items() if not re.match("CREWMESH|COMPOSE|OTEL|KONG", name)}
    done = subprocess.run(
        [str(ensure_checkers() / "composecheck"), FILE.name, *profiles],
        cwd=repository,
        env={**plain, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return cast("Mapping", json.loads(done.stdout))


def containers(project: Mapping) -> dict[str, Mapping]:
    return cast("dict[str, Mapping]", project["services"])


@pytest.mark.parametrize(
    "profiles", [chosen for size in range(len(PROFILES) + 1) for chosen in combinations(PROFILES, size)], ids="+".join
)
def test_profiles_add_to_the_mesh_and_take_nothing_away(repository: Path, profiles: tuple[str, ...]) -> None:
    core = set(containers(project(repository)))
    added = {"observability": WATCHING, "objects": {"objects"}, "dev": {"mailpit"}}
    expected = core.union(*(added[profile] for profile in profiles))
    assert set(containers(project(repository, *profiles))) == expected
    assert not core & {*WATCHING, "objects", "mailpit"}
    assert {*SERVICES, "kong", "postgres", "valkey"} <= core


def test_every_container_is_limited(repository: Path) -> None:
    for name, container in containers(project(repository, *PROFILES)).items():
        limits = cast("Mapping", at(container, "deploy.resources.limits"))
        assert limits, name
        assert {"cpus", "memory", "pids"} <= set(limits), name
    valkey = str(containers(project(repository))["valkey"]["command"])
    assert "--maxmemory 768mb" in valkey, "it refuses before its limit of 1 GB ends it"


def test_nobody_outside_reaches_a_port_but_kong_s(repository: Path) -> None:
    everything = containers(project(repository, *PROFILES, CREWMESH_BIND="0.0.0.0"))
    published = {
        (name, str(port.get("host_ip")))
        for name, container in everything.items()
        for port in cast("list[Mapping]", container.get("ports") or [])
    }
    assert published == {("kong-pod", "0.0.0.0"), ("grafana", "127.0.0.1"), ("mailpit", "127.0.0.1")}


def test_traces_go_where_the_variables_say(repository: Path) -> None:
    name = "CREWMESH_TELEMETRY__OTLP_ENDPOINT"
    assert name not in variables(repository, "workflow")
    told = {name: "http://c:4318", "OTEL_EXPORTER_OTLP_ENDPOINT": "c:4317"}
    for app in SERVICES:
        assert variables(repository, app, **told)[name] == "http://c:4318"
        assert variables(repository, f"{app}-dapr", **told)["OTEL_EXPORTER_OTLP_ENDPOINT"] == "c:4317"


def variables(repository: Path, container: str, **told: str) -> dict[str, object]:
    """What the container is given: compose leaves out what is passed through and not set."""
    given = cast("dict[str, object]", containers(project(repository, **told))[container]["environment"])
    return {name: value for name, value in given.items() if value is not None}


def test_whoever_is_not_watching_hands_its_lines_over_when_they_shall_be_searchable() -> None:
    (told,) = documents(LOGS)
    handing = {name for name, each in containers(told).items() if at(each, "logging.driver") == "fluentd"}
    pods = {f"{app}-pod" for app in (*SERVICES, "kong")}
    assert handing == set(containers(documents(FILE)[0])) - WATCHING - pods - {"objects", "mailpit"}
    (receiver,) = mappings([at(documents(COLLECTOR / "docker.yml")[0], "receivers.fluent_forward")])
    port = str(receiver["endpoint"]).rpartition(":")[2]
    assert at(told, "services.otel-collector.ports") == [f"127.0.0.1:{port}:{port}"]
    for name in handing:
        options = cast("Mapping", at(told, f"services.{name}.logging.options"))
        assert options["fluentd-address"] == f"127.0.0.1:{port}"
        assert options["fluentd-async"] == "true", "it would not start without a collector"
        statements = str(at(documents(COLLECTOR / "docker.yml")[0], "processors.transform/whose.log_statements"))
        assert f'attributes["{options["labels"]}"]' in statements


def test_a_collector_reads_files_that_are_mounted() -> None:
    collector = containers(documents(FILE)[0])["otel-collector"]
    (volume,) = strings(collector["volumes"])
    source, target, _ = volume.split(":")
    for argument in strings(collector["command"]):
        file = argument.removeprefix(f"--config={target}/")
        assert (ROOT / source / file).is_file()


def test_the_example_explains_exactly_what_the_file_reads() -> None:
    text = FILE.read_text()
    passed_through = re.findall(r"^      ([A-Z][A-Z0-9_]+):$|^  ([A-Z][A-Z0-9_]+):$", text, re.M)
    read = set(re.findall(r"(?<!\$)\$\{([A-Z0-9_]+)", text)) | {
        name for pair in passed_through for name in pair if name
    }
    lines = EXAMPLE.read_text().splitlines()
    named = {line: found[1] for line in lines if (found := re.match(r"#?([A-Z][A-Z0-9_]+)=", line))}
    assert set(named.values()) == read | OF_COMPOSE
    for line in named:
        before = lines[lines.index(line) - 1]
        assert before.startswith("#") or re.match(r"[A-Z]", before), f"{line} is not explained"


def test_the_example_s_values_are_those_that_hold_without_it() -> None:
    defaults = dict(re.findall(r"\$\{([A-Z0-9_]+):-([^}]+)\}", FILE.read_text()))
    told = dict(re.findall(r"^([A-Z][A-Z0-9_]+)=(.*)$", EXAMPLE.read_text(), re.M))
    told.pop("COMPOSE_PROFILES")
    assert told == defaults
