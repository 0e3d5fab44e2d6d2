"""What is sent to us by POST; and an OTLP collector, small: it remembers the spans of a whole mesh by their trace."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class SpanCollector:
    def __init__(self) -> None:
        self.url = ""
        self._spans: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)

    def spans_of(self, trace_id: str) -> set[tuple[str, str]]:
        """(service, span name) of everything that belongs to the trace so far."""
        return set(self._spans[trace_id])

    def services_of(self, trace_id: str) -> set[str]:
        return {service for service, _ in self.spans_of(trace_id)}

    def take(self, _path: str, body: bytes) -> None:
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            names = [item.value.string_value for item in group.resource.attributes if item.key == "service.name"]
            for scope in group.scope_spans:
                for span in scope.spans:
                    self._spans[span.trace_id.hex()].add((names[0] if names else "?", span.name))


@contextmanager
def running_collector() -> Generator[SpanCollector]:
    collector = SpanCollector()
    with receiving(collector.take) as port:
        collector.url = f"http://127.0.0.1:{port}"
        yield collector


@contextmanager
def receiving(take: Callable[[str, bytes], None]) -> Generator[int]:
    """The port at which ``take`` gets path and body of every POST.

    In a thread of its own, so that it outlives the event loops of single tests.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            take(self.path, self.rfile.read(int(self.headers.get("content-length", "0"))))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object, **__: object) -> None:
            """What was sent is looked at, not how."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
