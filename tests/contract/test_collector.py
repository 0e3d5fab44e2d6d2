"""What the collectors are told they understand; which traces they keep, and what becomes of a line of a log."""

from __future__ import annotations

import json
import re
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Generator, Iterable
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from crewmesh_testkit.ports import free_port
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.contract.collectors import FOLDER, PINNED, Line, Sink, complaint, eventually, running, written
from tests.rules.repository import ROOT, Mapping, at, documents, mappings

COMPOSE = ("base.yml", "traces.yml", "logs.yml", "docker.yml")
SPANS = ("base.yml", "traces.yml")
NODE = ("base.yml", "logs.yml", "kubernetes.yml")
GO_MOD = PINNED.module / "go.mod"
SECOND = 1_000_000_000
TRACE, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
# A line as the services write it, by the kit itself.
_WRITE = f"""
from opentelemetry import context, trace
from crewmesh_kit import logs
from crewmesh_kit.settings import LogSettings
logs.configure("workflow", LogSettings())
here = trace.SpanContext(0x{TRACE}, 0x{SPAN_ID}, is_remote=True)
context.attach(trace.set_span_in_context(trace.NonRecordingSpan(here)))
with logs.bound(run="run_1", organization="org_1"):
    logs.get_logger("crewmesh").error("it broke", token="s3cret")
"""


def somewhere(folder: Path) -> Path:
    """The only thing that a collector looks for before it starts."""
    return written(folder / "somewhere.yml", {"extensions": {"file_storage": {"directory": str(folder)}}})


@pytest.mark.parametrize("files", [COMPOSE, SPANS, NODE], ids=["compose", "spans", "node"])
def test_a_collector_understands_what_it_is_told(files: tuple[str, ...], tmp_path: Path) -> None:
    assert complaint(files, *([somewhere(tmp_path)] if files == NODE else [])) == ""


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"service": {"pipelines": {"traces": {"processors": ["tail_samplin"]}}}}, "tail_samplin"),
        ({"service": {"pipelines": {"logs": {"exporters": ["otlp_http/nowhere"]}}}}, "otlp_http/nowhere"),
        ({"processors": {"tail_sampling": {"decision_waits": "1s"}}}, "decision_waits"),
        ({"processors": {"transform/lines": {"log_statements": ["sett(log.body)"]}}}, "sett"),
        ({"exporters": {"otlp_http/tempo": {"endpoint": ""}}}, "endpoint"),
    ],
    ids=["processor", "exporter", "option", "statement", "address"],
)
def test_what_it_does_not_understand_is_seen(wrong: Mapping, said: str, tmp_path: Path) -> None:
    assert said in complaint(COMPOSE, written(tmp_path / "wrong.yml", wrong))


@pytest.fixture(scope="module", name="collector")
def _collector(tmp_path_factory: pytest.TempPathFactory) -> Generator[tuple[str, Sink]]:
    port = free_port()

    def override(sink: Sink) -> Mapping:
        return {
            "receivers": {"otlp": listening(port)},
            "processors": {"tail_sampling": {"decision_wait": "1s"}, "batch": {"timeout": "100ms"}},
            "exporters": {"otlp_http/tempo": {"endpoint": f"http://127.0.0.1:{sink.port}", "compression": "none"}},
        }

    with running(SPANS, tmp_path_factory.mktemp("traces"), override) as sink:
        yield f"http://127.0.0.1:{port}/v1/traces", sink


@pytest.fixture(scope="module", name="lines")
def _lines(tmp_path_factory: pytest.TempPathFactory) -> Generator[dict[str, Line]]:
    port = free_port()
    told = {
        "workflow": written_by_the_kit(),
        "gateway-dapr": '{"app_id":"gateway","level":"info","msg":"up","scope":"dapr.runtime","time":"x"}',
        "kong": 'upstream sent no header, request: "POST /v1/hooks/hook_1/s3cret?a=b HTTP/1.1", host: "x"',
        "valkey": '{"half a line',
    }

    def override(sink: Sink) -> Mapping:
        here: Mapping = {"fluent_forward": {"endpoint": f"127.0.0.1:{port}"}, "otlp": listening(free_port())}
        return {"receivers": here, **to_loki(sink)}

    with running(COMPOSE, tmp_path_factory.mktemp("docker"), override) as sink:
        with socket.create_connection(("127.0.0.1", port), timeout=60) as engine:
            for service, text in told.items():
                engine.sendall(as_docker_says(service, text))
        eventually(lambda: len(sink.lines) >= len(told), "a line is missing")
        yield {line.labels["service.name"]: line for line in sink.lines}


def test_it_is_of_the_version_of_the_image() -> None:
    """Of the contributors' modules; those of the core come along, and some of them count otherwise."""
    (built,) = set(re.findall(r"^\t\S+/opentelemetry-collector-contrib/\S+ v(\S+)$", GO_MOD.read_text(), re.M))
    stack = documents(ROOT / "docker-compose.yml")[0]
    assert str(at(stack, "services.otel-collector.image")).endswith(f":{built}")


def test_runs_say_as_they_begin_what_the_collector_looks_for() -> None:
    (runs,) = [
        policy
        for policy in mappings(at(documents(FOLDER / "traces.yml")[0], "processors.tail_sampling.policies"))
        if policy["name"] == "runs"
    ]
    sources = "".join(path.read_text() for path in ROOT.glob("services/*/src/**/*.py"))
    assert set(re.findall(r'attributes\["(\w+)"\] != nil', str(at(runs, "ottl_condition.span")))) == set(
        re.findall(r'\bmark\("[^"]+", (\w+)=', sources)
    )


class TestTraces:
    def test_what_failed_was_slow_or_is_of_a_run_is_kept_and_a_tenth_of_the_rest(
        self, collector: tuple[str, Sink]
    ) -> None:
        url, sink = collector
        kept = {
            span(1, failed=True).trace_id,
            span(2, seconds=6).trace_id,
            span(3, run="run_1").trace_id,
            span(4, crew_run="crewrun_1").trace_id,
        }
        ordinary = [span(number) for number in range(1000, 1400)]
        send(url, [span(1, failed=True), span(2, seconds=6), span(3, run="run_1"), span(4, crew_run="crewrun_1")])
        send(url, ordinary)
        eventually(lambda: kept <= {each.trace_id for each in sink.spans}, "a trace is missing that must be kept")
        # They came before: what of them is kept has been judged as well.
        rest = {each.trace_id for each in sink.spans} & {each.trace_id for each in ordinary}
        assert len(rest) < len(ordinary) / 4

    def test_what_comes_to_a_run_days_later_is_kept_too(self, collector: tuple[str, Sink]) -> None:
        """A trace is judged once. The run was going well, and it fails after that."""
        url, sink = collector
        send(url, [span(5, run="run_2")])
        eventually(lambda: any(each.trace_id == span(5).trace_id for each in sink.spans), "the beginning is missing")
        late = span(5, failed=True)
        late.name = "step"
        send(url, [late])
        eventually(lambda: any(each.name == "step" for each in sink.spans), "the end is missing")

    def test_no_secret_of_an_address_is_stored(self, collector: tuple[str, Sink]) -> None:
        url, sink = collector
        addresses = {
            "url.path": ("/v1/hooks/hook_1/s3cret", "/v1/hooks/…"),
            "url.full": ("http://x/v1/approval-links/s3cret?decision=yes", "http://x/v1/approval-links/…"),
            "http.target": ("/v1/runs?cursor=s3cret", "/v1/runs"),
            "http.url": ("http://x/v1/runs/run_1", "http://x/v1/runs/run_1"),
            "url.query": ("cursor=s3cret", "…"),
        }
        asked = span(6, run="run_3")
        for name, (before, _) in addresses.items():
            asked.attributes.add(key=name, value=AnyValue(string_value=before))
        asked.name = "POST /v1/hooks/hook_1/s3cret"
        send(url, [asked])
        eventually(lambda: any(each.trace_id == asked.trace_id for each in sink.spans), "it is missing")
        (stored,) = [each for each in sink.spans if each.trace_id == asked.trace_id]
        found = {item.key: item.value.string_value for item in stored.attributes}
        assert {name: found[name] for name in addresses} == {name: after for name, (_, after) in addresses.items()}
        assert stored.name == "POST /v1/hooks/…"


class TestLinesOfDocker:
    def test_labels_are_few_and_say_whose_it_is(self, lines: dict[str, Line]) -> None:
        assert {name: line.labels["level"] for name, line in lines.items()} == {
            "workflow": "error",
            "gateway-dapr": "info",
            "kong": "unknown",
            "valkey": "unknown",
        }
        assert {name for line in lines.values() for name in line.labels} == {"service.name", "level"}

    def test_a_line_leads_to_its_trace_and_run(self, lines: dict[str, Line]) -> None:
        beside = lines["workflow"].beside
        assert beside == {"trace_id": TRACE, "span_id": SPAN_ID, "run": "run_1", "organization": "org_1"}

    def test_it_is_stored_as_it_was_written_but_for_secrets(self, lines: dict[str, Line]) -> None:
        assert json.loads(lines["workflow"].text)["event"] == "it broke"
        assert lines["valkey"].text == '{"half a line'
        assert lines["kong"].text == 'upstream sent no header, request: "POST /v1/hooks/… HTTP/1.1", host: "x"'
        assert not [line for line in lines.values() if "s3cret" in line.text]


class TestLinesOfKubernetes:
    def test_whose_they_are_is_said_by_the_files(self, tmp_path: Path) -> None:
        pods = {
            "crewmesh_gateway-6d5f9c7b8d-x2x4z/app": "gateway",
            "crewmesh_agent-crew-6d5f9c7b8d-x2x4z/daprd": "agent-crew-dapr",
            "crewmesh_prepare-database-0-1-0-abcde/roles": "prepare-database",
            "dapr-system_dapr-scheduler-server-0/scheduler": "dapr-scheduler-server",
        }
        for place in pods:
            pod, _, container = place.partition("/")
            file = tmp_path / "pods" / f"{pod}_49cc7c1fd3702c40b2686ea7486091d6" / container / "0.log"
            file.parent.mkdir(parents=True)
            # Files that begin alike are taken for one that was renamed.
            moment = f"2026-11-21T10:00:00.{len(place):09}Z"
            file.write_text(f'{moment} stdout P {{"level":"WARNING",\n{moment} stdout F "run":"run_1"}}\n')
        read = tmp_path / "read"
        read.mkdir()

        def override(sink: Sink) -> Mapping:
            return {
                "extensions": {"file_storage": {"directory": str(read)}},
                "receivers": {"file_log": {"include": [f"{tmp_path}/pods/*/*/*.log"]}},
                **to_loki(sink),
            }

        with running(NODE, tmp_path, override) as sink:
            eventually(lambda: len(sink.lines) >= len(pods), "a line is missing")
        assert sorted(line.labels["service.name"] for line in sink.lines) == sorted(pods.values())
        for line in sink.lines:
            assert line.text == '{"level":"WARNING","run":"run_1"}', "it comes in two parts"
            assert line.labels["level"] == "warning"
            assert line.beside["run"] == "run_1"
            assert line.beside["pod"]


def span(number: int, *, failed: bool = False, seconds: int = 0, **attributes: str) -> Span:
    """Of a trace of its own. One that began half a minute ago, so that the collector need not wait for it."""
    begun = time.time_ns() - 30 * SECOND
    return Span(
        trace_id=number.to_bytes(16, "big"),
        span_id=(number + 1).to_bytes(8, "big"),
        name="GET",
        start_time_unix_nano=begun,
        end_time_unix_nano=begun + seconds * SECOND + SECOND // 100,
        status=Status(code=Status.STATUS_CODE_ERROR if failed else Status.STATUS_CODE_UNSET),
        attributes=[KeyValue(key=name, value=AnyValue(string_value=value)) for name, value in attributes.items()],
    )


def send(url: str, spans: Iterable[Span]) -> None:
    request = ExportTraceServiceRequest()
    request.resource_spans.add().scope_spans.add().spans.extend(spans)
    asked = Request(url, request.SerializeToString(), {"content-type": "application/x-protobuf"})
    with urlopen(asked, timeout=60) as answer:
        assert answer.status == 200


def to_loki(sink: Sink) -> Mapping:
    return {
        "processors": {"batch": {"timeout": "100ms"}},
        "exporters": {"otlp_http/loki": {"endpoint": f"http://127.0.0.1:{sink.port}/otlp", "compression": "none"}},
    }


def listening(port: int) -> Mapping:
    """For spans, at this port."""
    return {"protocols": {"http": {"endpoint": f"127.0.0.1:{port}"}, "grpc": {"endpoint": f"127.0.0.1:{free_port()}"}}}


def written_by_the_kit() -> str:
    done = subprocess.run([sys.executable, "-c", _WRITE], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def as_docker_says(service: str, line: str) -> bytes:
    """One message of the Forward protocol, as the engine's driver writes it: [tag, time, {…}] in MessagePack."""
    record = {
        "container_id": "c0ffee",
        "container_name": f"/crewmesh-{service}-1",
        "source": "stdout",
        "log": line,
        "com.docker.compose.service": service,
    }
    packed = b"".join(_text(name) + _text(value) for name, value in record.items())
    moment = b"\xd7\x00" + struct.pack(">II", int(time.time()), 0)
    return b"\x93" + _text("c0ffee") + moment + bytes([0x80 | len(record)]) + packed


def _text(value: str) -> bytes:
    raw = value.encode()
    return b"\xda" + struct.pack(">H", len(raw)) + raw
