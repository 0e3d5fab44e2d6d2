"""Tempo, Loki and Alertmanager are told what they understand, and all find one another at the ports they have."""

from __future__ import annotations

import re
import subprocess
from typing import Annotated, Literal, cast

import pytest
import yaml
from crewmesh_tools.checkers import ensure_checkers
from pydantic import BaseModel, ConfigDict, Field

from tests.contract.collectors import FOLDER
from tests.contract.test_alerts import alerts
from tests.rules.repository import ROOT, Mapping, Yaml, at, documents, mappings, strings

OBSERVABILITY = ROOT / "observability"
ALERTMANAGER = OBSERVABILITY / "alertmanager" / "alertmanager.yml"
CONTAINERS = cast("dict[str, Mapping]", documents(ROOT / "docker-compose.yml")[0]["services"])


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Address(Strict):
    endpoint: Annotated[str, Field(pattern=r"^[a-z0-9.-]+:\d+$")]


class Protocols(Strict):
    http: Address


class Otlp(Strict):
    protocols: Protocols


class Server(Strict):
    http_listen_port: int


class Receivers(Strict):
    otlp: Otlp


class Distributor(Strict):
    receivers: Receivers


class Compaction(Strict):
    block_retention: str


class Compactor(Strict):
    compaction: Compaction


class Path(Strict):
    path: Annotated[str, Field(pattern="^/var/tempo/")]


class Backend(Strict):
    backend: Literal["local"]
    wal: Path
    local: Path


class Storage(Strict):
    trace: Backend


class Usage(Strict):
    reporting_enabled: Literal[False]


class Tempo(Strict):
    server: Server
    distributor: Distributor
    compactor: Compactor
    storage: Storage
    usage_report: Usage


class Ring(Strict):
    instance_addr: Literal["127.0.0.1"]
    kvstore: dict[Literal["store"], Literal["inmemory"]]


class Common(Strict):
    path_prefix: Literal["/loki"]
    replication_factor: Literal[1]
    ring: Ring
    storage: dict[
        Literal["filesystem"],
        dict[Literal["chunks_directory", "rules_directory"], Annotated[str, Field(pattern="^/loki/")]],
    ]


class Index(Strict):
    prefix: str
    period: Literal["24h"]


class Period(Strict):
    since: Annotated[str, Field(alias="from", pattern=r"^\d{4}-\d\d-\d\d$")]
    store: Literal["tsdb"]
    object_store: Literal["filesystem"]
    schema_: Literal["v13"] = Field(alias="schema")
    index: Index


class Labels(Strict):
    action: Literal["index_label"]
    attributes: list[str]


class OfResources(Strict):
    ignore_defaults: Literal[True]
    attributes_config: list[Labels]


class Limits(Strict):
    retention_period: str
    otlp_config: dict[Literal["resource_attributes"], OfResources]


class LokiCompactor(Strict):
    working_directory: Annotated[str, Field(pattern="^/loki/")]
    retention_enabled: Literal[True]
    delete_request_store: Literal["filesystem"]


class Loki(Strict):
    auth_enabled: Literal[False]
    server: Server
    common: Common
    schema_config: dict[Literal["configs"], list[Period]]
    limits_config: Limits
    compactor: LokiCompactor
    analytics: Usage


@pytest.fixture(scope="module", name="tempo")
def _tempo() -> Tempo:
    return Tempo.model_validate(yaml.safe_load((OBSERVABILITY / "tempo" / "tempo.yml").read_text()))


@pytest.fixture(scope="module", name="loki")
def _loki() -> Loki:
    return Loki.model_validate(yaml.safe_load((OBSERVABILITY / "loki" / "loki.yml").read_text()))


def port(address: str) -> int:
    return int(address.removesuffix("/otlp").rpartition(":")[2])


def collectors(way: str) -> str:
    """A value of one of the collector's files; names may hold dots, so parts are set apart by spaces."""
    file, *names = way.split()
    found: Yaml = documents(FOLDER / file)[0]
    for name in names:
        assert isinstance(found, dict)
        found = found[name]
    return str(found)


def test_spans_find_their_way(tempo: Tempo) -> None:
    assert collectors("traces.yml receivers otlp protocols http endpoint") == "0.0.0.0:4318"
    assert collectors("traces.yml receivers otlp protocols grpc endpoint") == "0.0.0.0:4317"
    assert "http://otel-collector:4318/" in str(
        at(CONTAINERS["kong"], "environment.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    )
    sent_to = collectors("traces.yml exporters otlp_http/tempo endpoint")
    assert port(sent_to) == port(tempo.distributor.receivers.otlp.protocols.http.endpoint)
    assert source("tempo")["url"] == f"http://tempo:{tempo.server.http_listen_port}"
    assert "tempo:/var/tempo" in strings(CONTAINERS["tempo"]["volumes"])


def test_lines_find_their_way(loki: Loki) -> None:
    assert (
        collectors("logs.yml exporters otlp_http/loki endpoint") == f"http://loki:{loki.server.http_listen_port}/otlp"
    )
    assert source("loki")["url"] == f"http://loki:{loki.server.http_listen_port}"
    assert "loki:/loki" in strings(CONTAINERS["loki"]["volumes"])


def test_the_labels_are_those_that_the_collector_makes(loki: Loki) -> None:
    (labels,) = loki.limits_config.otlp_config["resource_attributes"].attributes_config
    assert collectors("logs.yml processors groupbyattrs/labels keys") == str(labels.attributes)


def test_who_watches_sees_whether_a_request_takes_longer_than_a_trace_is_waited_for() -> None:
    """Kong waits for answers for 75 seconds; what ends later than its trace is judged would be missing in it."""
    patience = max(int(each) for each in re.findall(r"read_timeout: (\d+)", (ROOT / "kong/kong.yaml").read_text()))
    waits = collectors("traces.yml processors tail_sampling decision_wait")
    assert int(waits.removesuffix("s")) > patience / 1000


def source(name: str) -> Mapping:
    (found,) = mappings(documents(OBSERVABILITY / f"grafana/provisioning/datasources/{name}.yml")[0]["datasources"])
    return found


def test_alertmanager_understands_its_configuration() -> None:
    done = subprocess.run(
        [str(ensure_checkers() / "alertcheck"), str(ALERTMANAGER)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_alertmanager_names_alerts_that_exist() -> None:
    named = re.findall(r'alertname =~? "([^"]+)"', ALERTMANAGER.read_text())
    assert named
    assert {name for names in named for name in names.split("|")} <= alerts()
