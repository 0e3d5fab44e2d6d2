"""What traces tell of tools: the use, never a word of what went in or came out."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from .tool_desk import HANDBOOK, POST, ToolDesk, agent


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    def tracer_of(name: str) -> trace.Tracer:
        return provider.get_tracer(name)

    monkeypatch.setattr(trace, "get_tracer", tracer_of)
    return exporter


async def test_a_use_is_a_span(desk: ToolDesk, spans: InMemorySpanExporter) -> None:
    box = await desk.open(agent(HANDBOOK, POST))
    await box.use("post", {"method": "POST", "body": "canary-5c0ffee"}, key="t1")
    (span,) = spans.get_finished_spans()
    told = dict(span.attributes or {})
    assert span.name == "execute_tool post"
    assert str(told.pop("gen_ai.tool.call.id")).startswith(desk.crew_run)
    assert told == {
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": "post",
        "gen_ai.tool.type": "function",
        "gen_ai.agent.name": "worker",
        "crewmesh.tool.kind": "http",
        "crewmesh.tool.outcome": "done",
    }
    assert "canary" not in span.to_json()


async def test_what_is_in_the_journal_is_none(desk: ToolDesk, spans: InMemorySpanExporter) -> None:
    await (await desk.open(agent(HANDBOOK))).use("handbook", {"query": "q"}, key="t1")
    await (await desk.open(agent(HANDBOOK))).use("handbook", {"query": "q"}, key="t1")
    (span,) = spans.get_finished_spans()
    assert (span.attributes or {})["gen_ai.tool.type"] == "datastore"
