"""Collector, Tempo and Alertmanager are told what they understand, and find one another at the ports they have."""

from __future__ import annotations

import re
import subprocess
from typing import Annotated, Literal

import pytest
import yaml
from crewmesh_tools.checkers import ensure_checkers
from pydantic import BaseModel, ConfigDict, Field

from tests.contract.test_alerts import alerts
from tests.rules.repository import ROOT, at, documents, mappings, strings

OBSERVABILITY = ROOT / "observability"
ALERTMANAGER = OBSERVABILITY / "alertmanager" / "alertmanager.yml"


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Address(Strict):
    endpoint: Annotated[str, Field(pattern=r"^[a-z0-9.-]+:\d+$")]


class Protocols(Strict):
    grpc: Address
    http: Address | None = None


class Otlp(Strict):
    protocols: Protocols


class MemoryLimiter(Strict):
    check_interval: str
    limit_percentage: int
    spike_limit_percentage: int


class Statements(Strict):
    context: Literal["span"]
    statements: list[str]


class Transform(Strict):
    error_mode: Literal["propagate"]
    trace_statements: list[Statements]


class StatusCode(Strict):
    status_codes: list[Literal["ERROR", "OK", "UNSET"]]


class Latency(Strict):
    threshold_ms: int


class Probabilistic(Strict):
    sampling_percentage: float


class Policy(Strict):
    name: str
    type: Literal["status_code", "latency", "probabilistic"]
    status_code: StatusCode | None = None
    latency: Latency | None = None
    probabilistic: Probabilistic | None = None


class TailSampling(Strict):
    decision_wait: str
    num_traces: int
    policies: list[Policy]


class Batch(Strict):
    send_batch_size: int
    timeout: str


class Processors(Strict):
    memory_limiter: MemoryLimiter
    no_secrets: Transform = Field(alias="transform/no-secrets")
    tail_sampling: TailSampling
    batch: Batch


class Insecure(Strict):
    insecure: Literal[True]


class Exporter(Address):
    tls: Insecure


class Pipeline(Strict):
    receivers: list[str]
    processors: list[str]
    exporters: list[str]


class Host(Strict):
    host: str
    port: int


class OfPrometheus(Strict):
    prometheus: Host


class Pull(Strict):
    exporter: OfPrometheus


class Reader(Strict):
    pull: Pull


class Metrics(Strict):
    readers: list[Reader]


class Telemetry(Strict):
    metrics: Metrics


class Service(Strict):
    extensions: list[str]
    telemetry: Telemetry
    pipelines: dict[Literal["traces"], Pipeline]


class Collector(Strict):
    """As far as the collector is used here; it refuses what it does not know in the same way."""

    extensions: dict[Literal["health_check"], Address]
    receivers: dict[Literal["otlp"], Otlp]
    processors: Processors
    exporters: dict[Literal["otlp/tempo"], Exporter]
    service: Service


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


@pytest.fixture(scope="module", name="collector")
def _collector() -> Collector:
    return Collector.model_validate(yaml.safe_load((OBSERVABILITY / "otel-collector" / "config.yml").read_text()))


@pytest.fixture(scope="module", name="tempo")
def _tempo() -> Tempo:
    return Tempo.model_validate(yaml.safe_load((OBSERVABILITY / "tempo" / "tempo.yml").read_text()))


def test_everything_that_is_defined_is_used_and_secrets_go_first(collector: Collector) -> None:
    pipeline = collector.service.pipelines["traces"]
    assert pipeline.receivers == list(collector.receivers)
    assert pipeline.exporters == list(collector.exporters)
    assert pipeline.processors == ["memory_limiter", "transform/no-secrets", "tail_sampling", "batch"]
    assert collector.service.extensions == list(collector.extensions)


def test_failed_and_slow_traces_are_kept_whole(collector: Collector) -> None:
    policies = collector.processors.tail_sampling.policies
    assert [policy.type for policy in policies] == ["status_code", "latency", "probabilistic"]
    for policy in policies:
        given = {name for name in ("status_code", "latency", "probabilistic") if getattr(policy, name) is not None}
        assert given == {policy.type}


def cleaned(collector: Collector, attribute: str, value: str) -> str:
    """What its statements make of a value; the collector writes $$ for $, and Go $1 for what Python calls \\1."""
    (of_spans,) = collector.processors.no_secrets.trace_statements
    for statement in of_spans.statements:
        found = re.fullmatch(r'replace_pattern\((\S+), "(.*)", "(.*)"\)', statement)
        if found is not None and found[1] in (attribute, f'attributes["{attribute}"]'):
            value = re.sub(found[2].replace("\\\\", "\\"), found[3].replace("$$1", r"\1"), value)
    return value


@pytest.mark.parametrize("attribute", ["http.url", "url.full", "http.target", "name"])
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("/v1/hooks/hook_1/s3cret", "/v1/hooks/…"),
        ("/v1/approval-links/s3cret?decision=yes", "/v1/approval-links/…"),
        ("/v1/runs?cursor=s3cret", "/v1/runs"),
        ("/v1/runs/run_1", "/v1/runs/run_1"),
    ],
)
def test_no_secret_of_an_address_is_stored(collector: Collector, attribute: str, before: str, after: str) -> None:
    assert cleaned(collector, attribute, before) == after


def test_the_parts_find_one_another(collector: Collector, tempo: Tempo) -> None:
    containers = documents(ROOT / "docker-compose.yml")[0]["services"]
    ports = {"grpc": collector.receivers["otlp"].protocols.grpc, "http": collector.receivers["otlp"].protocols.http}
    assert {name: str(address and address.endpoint) for name, address in ports.items()} == {
        "grpc": "0.0.0.0:4317",
        "http": "0.0.0.0:4318",
    }
    assert "http://otel-collector:4318/" in str(at(containers, "kong.environment.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"))
    (sent_to,) = (exporter.endpoint for exporter in collector.exporters.values())
    assert sent_to.split(":")[1] == tempo.distributor.receivers.otlp.protocols.grpc.endpoint.split(":")[1]
    source = documents(OBSERVABILITY / "grafana/provisioning/datasources/tempo.yml")[0]
    assert [entry["url"] for entry in mappings(source["datasources"])] == [
        f"http://tempo:{tempo.server.http_listen_port}"
    ]
    assert "tempo:/var/tempo" in strings(at(containers, "tempo.volumes"))


def test_alertmanager_understands_its_configuration() -> None:
    done = subprocess.run(
        [str(ensure_checkers() / "alertcheck"), str(ALERTMANAGER)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_alertmanager_names_alerts_that_exist() -> None:
    named = re.findall(r'alertname =~? "([^"]+)"', ALERTMANAGER.read_text())
    assert named
    assert {name for names in named for name in names.split("|")} <= alerts()
