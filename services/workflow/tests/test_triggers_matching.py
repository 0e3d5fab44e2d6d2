"""Which events a trigger or a waiting step asked for."""

from __future__ import annotations

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.events import CloudEvent
from crewmesh_workflow.expressions import ExpressionError
from crewmesh_workflow.triggers.matching import admits, belongs, correlated, seen, segments, texts

EVENT = seen(
    CloudEvent(
        id="e1",
        source="shop",
        type="order.paid",
        subject="o1",
        data={"order_id": 7, "lines": [{"sku": "a"}], "ok": True, "none": None, "sum": 1.5},
    )
)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("subject", "o1"),
        ("data.order_id", "7"),
        ("data.lines[0].sku", "a"),
        ("data.ok", "true"),
        ("data.sum", "1.5"),
        ("data.lines", '[{"sku":"a"}]'),
        ("data.none", None),
        ("data.lines[1].sku", None),
        ("data.missing", None),
        ("data.order_id.deeper", None),
        ("dataschema", None),
    ],
)
def test_what_correlates(path: str, found: str | None) -> None:
    assert correlated(EVENT, path) == found
    assert found is None or found.startswith("[") or found in (texts(EVENT) or [])


def test_paths_in_parts() -> None:
    assert segments("data.lines[0].sku") == ["data", "lines", 0, "sku"]


def test_an_event_of_many_values_is_not_listed() -> None:
    assert texts({"data": [*range(3_000)]}) is None


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (None, True),
        ("event.data.order_id == 7", True),
        ("event.type == 'order.paid' && event.data.sum > 2.0", False),
        ("has(event.data.missing)", False),
    ],
)
def test_filters(source: str | None, expected: bool) -> None:
    assert admits(source, EVENT) is expected


@pytest.mark.parametrize("source", ["event.data.missing == 1", "event.data.order_id", "trigger.x == 1"])
def test_a_filter_without_a_value_says_why(source: str) -> None:
    with pytest.raises(ExpressionError):
        admits(source, EVENT)


@pytest.mark.parametrize(
    ("request_", "key", "expected"),
    [
        ({}, None, True),
        ({"source": "shop", "correlation": "subject"}, "o1", True),
        ({"source": "bank", "correlation": "subject"}, "o1", False),
        ({"source": None, "correlation": "data.order_id", "filter": None}, "7", True),
        ({"correlation": "data.order_id"}, "8", False),
        ({"correlation": "data.missing"}, "null", False),
        ({"filter": "event.data.ok && trigger.data.want == event.data.order_id", "sees": {}}, None, ExpressionError),
        ({"filter": "trigger.want == event.data.order_id", "sees": {"trigger": {"want": 7}}}, None, True),
        ({"filter": "steps.a.output.x == 1", "sees": {"steps": {"a": {"output": {"x": 1}}}}}, None, True),
    ],
)
def test_what_a_step_waits_for(request_: JsonObject, key: str | None, expected: JsonValue | type[Exception]) -> None:
    if isinstance(expected, type):
        with pytest.raises(expected):
            belongs(request_, key, EVENT)
    else:
        assert belongs(request_, key, EVENT) is expected
