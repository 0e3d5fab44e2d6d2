"""The real collector with the files of observability/otel-collector, sending to us instead of Tempo and Loki."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from urllib.request import urlopen

import yaml
from crewmesh_testkit.collector import receiving
from crewmesh_testkit.ports import free_port
from crewmesh_tools.go_programs import Pinned, ensure_built
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.rules.repository import ROOT, Mapping

FOLDER = ROOT / "observability" / "otel-collector"
PINNED = Pinned(ROOT / "tests" / "contract" / "collector", packages=("./...",))
# A machine that builds at the same time is slow.
_SECONDS = 60.0


@cache
def program() -> str:
    return str(ensure_built(PINNED) / "collector")


@dataclass(frozen=True)
class Line:
    """As Loki gets it: ``labels`` from the resource, ``beside`` from the line."""

    text: str
    labels: dict[str, str]
    beside: dict[str, str]


@dataclass
class Sink:
    """What came out of the collector."""

    port: int = 0
    spans: list[Span] = field(default_factory=list[Span])
    lines: list[Line] = field(default_factory=list[Line])

    def take(self, path: str, body: bytes) -> None:
        if path == "/v1/traces":
            for group in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.spans += [span for scope in group.scope_spans for span in scope.spans]
        elif path == "/otlp/v1/logs":
            for group in ExportLogsServiceRequest.FromString(body).resource_logs:
                labels = plain(group.resource.attributes)
                for record in (record for scope in group.scope_logs for record in scope.log_records):
                    ids = {"trace_id": record.trace_id.hex(), "span_id": record.span_id.hex()}
                    beside = plain(record.attributes) | {name: value for name, value in ids.items() if value}
                    self.lines.append(Line(record.body.string_value, labels, beside))


def plain(attributes: Iterable[KeyValue]) -> dict[str, str]:
    return {item.key: item.value.string_value for item in attributes}


def told(files: tuple[str, ...], *others: Path) -> list[str]:
    """``--config`` for each file; what a later one says holds."""
    return [f"--config={path}" for path in (*(FOLDER / name for name in files), *others)]


def written(path: Path, content: Mapping) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path


def complaint(files: tuple[str, ...], *others: Path) -> str:
    """What the collector says against them; nothing when it would start."""
    done = subprocess.run(
        [program(), "validate", *told(files, *others)], capture_output=True, text=True, check=False, timeout=_SECONDS
    )
    return "" if done.returncode == 0 else done.stderr or "refused"


@contextmanager
def running(files: tuple[str, ...], folder: Path, override: Callable[[Sink], Mapping]) -> Generator[Sink]:
    """Until it says that it is well. ``override`` says where it listens, sends to and keeps things instead."""
    health, metrics = free_port(), free_port()
    sink = Sink()
    with receiving(sink.take) as sink.port:
        here = written(
            folder / "here.yml",
            {
                "extensions": {"health_check": {"endpoint": f"127.0.0.1:{health}"}},
                "service": {
                    "telemetry": {
                        "metrics": {
                            "readers": [{"pull": {"exporter": {"prometheus": {"host": "127.0.0.1", "port": metrics}}}}]
                        }
                    }
                },
            },
        )
        there = written(folder / "there.yml", override(sink))
        log = folder / "collector.log"
        with log.open("wb") as output:
            process = subprocess.Popen([program(), *told(files, here, there)], stderr=output, stdout=output)
        try:
            _wait_until_well(f"http://127.0.0.1:{health}/", process, log)
            yield sink
        finally:
            process.terminate()
            process.wait(_SECONDS)


def eventually(there: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _SECONDS
    while not there():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def _wait_until_well(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    def well() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            with urlopen(url, timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    eventually(well, "the collector does not become well")
