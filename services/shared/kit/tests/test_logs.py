import io
import json
import logging
from collections.abc import Generator
from typing import cast

import pytest
from crewmesh_contracts.base import JsonObject
from crewmesh_kit import logs
from crewmesh_kit.telemetry import continued, current_trace_id, trace_headers
from crewmesh_testkit.log_capture import captured_log


@pytest.fixture
def written() -> Generator[io.StringIO]:
    """Where the log goes."""
    with captured_log("workflow") as stream:
        yield stream


def lines(stream: io.StringIO) -> list[JsonObject]:
    """Those of these tests: what is left of others in the process may log at any time."""
    found = [cast(JsonObject, json.loads(line)) for line in stream.getvalue().splitlines()]
    return [line for line in found if line["logger"] in ("here", "somebody.else")]


def test_a_line_is_one_json_object(written: io.StringIO) -> None:
    logs.get_logger("here").info("it happened", count=3, text="a\nb")
    (line,) = lines(written)
    assert line.pop("timestamp")
    assert line == {
        "event": "it happened", "count": 3, "text": "a\nb", "level": "info", "logger": "here", "app": "workflow",
    }  # fmt: skip


def test_libraries_log_the_same_way(written: io.StringIO) -> None:
    logging.getLogger("somebody.else").warning("odd: %s", 3)
    (line,) = lines(written)
    assert (line["event"], line["level"], line["app"]) == ("odd: 3", "warning", "workflow")


def test_what_was_bound_is_on_every_line(written: io.StringIO) -> None:
    with logs.bound(run="run_1"):
        logs.bind(organization="org_1")
        logging.getLogger("somebody.else").warning("inside")
    logs.get_logger("here").info("outside")
    inside, outside = lines(written)
    assert (inside["run"], inside["organization"]) == ("run_1", "org_1")
    assert "run" not in outside


def test_the_trace_is_on_every_line(written: io.StringIO) -> None:
    traceparent = f"00-{'ab' * 16}-{'cd' * 8}-01"
    with continued({"traceparent": traceparent}):
        assert current_trace_id() == "ab" * 16
        assert trace_headers() == {"traceparent": traceparent}
        logs.get_logger("here").info("traced")
    assert lines(written)[0]["trace_id"] == "ab" * 16
    assert trace_headers() == {}


def test_secrets_are_replaced(written: io.StringIO) -> None:
    logs.get_logger("here").info("careless", api_token="sesame", Authorization="Bearer sesame", password="sesame")
    assert "sesame" not in written.getvalue()


def test_an_exception_is_told_in_the_line(written: io.StringIO) -> None:
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        logs.get_logger("here").exception("it failed")
    (line,) = lines(written)
    assert "RuntimeError: broken" in str(line["exception"])
