"""With a collector, requests become spans of the caller's trace, and are sent before the service ends."""

import asyncio
from collections.abc import AsyncGenerator

import pytest
from aiohttp import web
from crewmesh_kit import telemetry
from crewmesh_kit.app import Service
from crewmesh_kit.http.queries import any_query
from crewmesh_kit.identity import public
from crewmesh_kit.settings import ServiceSettings, TelemetrySettings
from crewmesh_kit.telemetry import mark, span, trace_headers
from crewmesh_testkit.fake_sidecar import FakeSidecar
from crewmesh_testkit.ports import free_port
from crewmesh_testkit.services import running
from fastapi import APIRouter
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CALLER = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}


class Collector:
    def __init__(self) -> None:
        self.url = ""
        self.spans: list[Span] = []

    async def receive(self, request: web.Request) -> web.Response:
        sent = ExportTraceServiceRequest.FromString(await request.read())
        self.spans += [span for one in sent.resource_spans for scope in one.scope_spans for span in scope.spans]
        return web.Response()


@pytest.fixture
async def collector(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Collector]:
    # A batch that is sent again would come twice.
    monkeypatch.setattr(telemetry, "_EXPORT_SECONDS", 60)
    collector = Collector()
    app = web.Application()
    app.router.add_post("/v1/traces", collector.receive)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield collector
    await runner.cleanup()


def service(endpoint: str) -> Service:
    router = APIRouter(dependencies=[public(), any_query()])

    @router.get("/v1/things/{thing}")
    async def onwards(thing: str) -> dict[str, str]:
        return {"thing": thing, **trace_headers()}

    _ = onwards
    settings = ServiceSettings(telemetry=TelemetrySettings(otlp_endpoint=endpoint))
    made = Service("knowledge", settings, title="T", version="1", sidecar=FakeSidecar("knowledge"))
    made.routes(router)
    return made


async def test_a_request_becomes_a_span_of_the_callers_trace(collector: Collector) -> None:
    async with running(service(collector.url).app) as client:
        await client.get("/healthz")
        answer = await client.get("/v1/things/7", headers=CALLER)
    (span,) = collector.spans
    assert span.name == "GET /v1/things/{thing}"
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, "00f067aa0ba902b7")
    assert answer.json()["traceparent"] == f"00-{TRACE}-{span.span_id.hex()}-01"


async def test_secrets_of_links_are_in_no_span(collector: Collector) -> None:
    secret = "5fGq1JmVYw2r8sTnXb0cKeHdLpAoUi3Zy7vQxR4tNkE"
    async with running(service(collector.url).app) as client:
        assert (await client.get(f"/v1/things/{secret}", params={"token": secret, "limit": "7"})).status_code == 200
    (span,) = collector.spans
    assert secret.encode() not in span.SerializeToString()
    told = {each.key: each.value.string_value for each in span.attributes}
    assert (told["url.path"], told["url.query"]) == ("/v1/things/•••", "token=•••&limit=7")


async def test_a_caller_that_is_not_sampled_stays_so(collector: Collector) -> None:
    async with running(service(collector.url).app) as client:
        answer = await client.get("/v1/things/7", headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-00"})
    assert collector.spans == []
    assert answer.json()["traceparent"].startswith(f"00-{TRACE}-")


async def test_a_collector_that_is_away_holds_nothing_up() -> None:
    async with asyncio.timeout(60), running(service(f"http://127.0.0.1:{free_port()}").app) as client:
        assert (await client.get("/v1/things/7")).status_code == 200


def test_a_mark_is_sent_while_what_it_tells_of_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    sent, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(sent))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    with span("a run"):
        mark("run started", run="run_1")
        (marked,) = sent.get_finished_spans()
    assert (marked.name, dict(marked.attributes or {})) == ("run started", {"run": "run_1"})


def test_where_nothing_is_recorded_a_block_stays_in_its_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = TracerProvider(sampler=ALWAYS_OFF)
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    with telemetry.continued(CALLER), span("a run"):
        assert trace_headers() == CALLER
    with span("nobody's run"):
        assert trace_headers(), "what belongs to no trace yet begins one"
