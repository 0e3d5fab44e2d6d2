"""What happened in a run, as sentences."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import get_args

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_testkit.identities import identity
from crewmesh_workflow.engine.commits import EventType
from crewmesh_workflow.runs.logs import as_text, log_line
from crewmesh_workflow.runs.schemas import LogLine, StoredEvent

from services.workflow.tests.conftest import Running

OWNER = identity("workflows:write", "workflows:read", "runs:read", "runs:write")
AT = datetime(2026, 11, 21, 8, 30, 0, 120_000, tzinfo=UTC)
ERROR: JsonObject = {"type": "upstream-failed", "detail": "The server answered 502."}


def line(type_: str, data: JsonObject | None = None) -> LogLine:
    return log_line(StoredEvent(seq=7, type=type_, data=data or {}, at=AT))


@pytest.mark.parametrize(
    ("type_", "data", "level", "text"),
    [
        ("run.started", {}, "info", "the run began"),
        ("run.started", {"origin": "api"}, "info", "the run began"),
        ("run.started", {"origin": "fork", "source_run": "run_1"}, "info", "the run began as a fork of run_1"),
        ("step.started", {"node": "a", "kind": "http", "attempt": 1}, "info", "began (http)"),
        ("step.started", {"node": "a", "kind": "http", "attempt": 2}, "info", "began (http, attempt 2)"),
        ("step.completed", {"node": "a", "port": "out", "attempt": 1}, "info", "is done"),
        ("step.completed", {"node": "a", "port": "yes,no"}, "info", "is done by yes,no"),
        (
            "step.completed",
            {"node": "a", "port": "error", "attempt": 3, "error": ERROR},
            "info",
            "is done by error, attempt 3, its failure handled: The server answered 502. (upstream-failed)",
        ),
        (
            "step.retrying",
            {"node": "a", "wait_seconds": 1.5, "error": ERROR},
            "warning",
            "failed and is tried again in 1.5 s: The server answered 502. (upstream-failed)",
        ),
        (
            "step.waiting",
            {"node": "a", "waits_for": "approval", "seconds": None},
            "info",
            "waits for somebody to agree",
        ),
        (
            "step.waiting",
            {"node": "a", "waits_for": "event", "seconds": 60},
            "info",
            "waits for an event, at most 60 s",
        ),
        ("step.waiting", {"node": "a", "waits_for": "stars"}, "info", "waits for something"),
        ("step.failed", {"node": "a", "error": ERROR}, "error", "failed: The server answered 502. (upstream-failed)"),
        ("run.failed", {"node": "a"}, "error", "the run failed"),
        ("run.moved", {"to": 3}, "info", "the run was moved to version 3 of its workflow"),
        ("run.something-new", {}, "info", "run.something-new"),
    ],
)
def test_sentences(type_: str, data: JsonObject, level: str, text: str) -> None:
    told = line(type_, data)
    assert (told.level, told.text) == (level, text)
    assert told.path == data.get("node")


@pytest.mark.parametrize("type_", get_args(EventType))
def test_every_event_of_the_engine_has_its_sentence(type_: str) -> None:
    assert line(type_).text != type_


@pytest.mark.parametrize("type_", get_args(EventType))
@pytest.mark.parametrize("value", [None, 1, "x", [], {}, {"detail": 1, "type": []}])
def test_whatever_stands_in_an_event_it_can_be_read(type_: str, value: object) -> None:
    names = ("node", "kind", "attempt", "port", "error", "wait_seconds", "seconds", "waits_for", "to")
    event = StoredEvent.model_validate({"seq": 1, "type": type_, "data": dict.fromkeys(names, value), "at": AT})
    assert as_text([log_line(event)]).count("\n") == 1


def test_as_text() -> None:
    lines = [line("run.started"), line("step.failed", {"node": "loop[3].a", "error": ERROR})]
    assert as_text(lines) == (
        "2026-11-21T08:30:00.120+00:00 INFO    - the run began\n"
        "2026-11-21T08:30:00.120+00:00 ERROR   loop[3].a failed: The server answered 502. (upstream-failed)\n"
    )


async def test_a_text_that_is_not_all_says_so(service: Running) -> None:
    items: list[JsonValue] = [*range(60)]
    body: JsonObject = {"nodes": [{"id": "x", "kind": "transform", "output": {}}]}
    loop: JsonObject = {"id": "loop", "kind": "for_each", "items": items, "body": body}
    workflow = (await service.post("/v1/workflows", OWNER, {"name": "long", "nodes": [loop]})).json()["id"]
    run = (await service.post(f"/v1/workflows/{workflow}/runs?wait=50", OWNER, {})).json()["id"]

    async def read(query: str) -> list[str]:
        answer = await service.get(f"/v1/runs/{run}/logs{query}", OWNER, accept="text/plain")
        return answer.text.splitlines()

    whole = await read("")
    assert len(whole) > 60, "as much as there may be in a page"
    assert whole[-1].endswith("the run is completed")
    lines = await read("?limit=40")
    first = "# There is more: GET "
    while lines[-1].startswith(first):
        more = lines.pop().removeprefix(first)
        assert len(lines) % 40 == 0
        lines += await read(more.removeprefix(f"/v1/runs/{run}/logs"))
    assert lines == whole


def test_an_error_cannot_forge_a_line_or_steer_a_terminal() -> None:
    error: JsonObject = {"type": "x", "detail": "no\n2026-01-01 INFO all is well\x1b[2J\u202e\u2028"}
    text = as_text([line("step.failed", {"node": "a", "error": error})])
    assert len(text.splitlines()) == 1
    assert "\x1b" not in text
    assert r"no\u{a}2026" in text
    assert r"\u{202e}\u{2028}" in text


def test_a_long_error_is_cut() -> None:
    assert len(line("step.failed", {"node": "a", "error": {"type": "x", "detail": "y" * 100_000}}).text) < 3_000
