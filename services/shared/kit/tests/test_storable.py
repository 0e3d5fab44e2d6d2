"""JSON that PostgreSQL takes: what it refuses is cleaned away, and seen to be missing."""

from __future__ import annotations

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_kit.db.storable import clean, clean_text, read_clean, storable
from pydantic_core import to_json


@pytest.mark.parametrize(
    ("value", "cleaned"),
    [
        ({"a\x00": ["x\x00\ud800", 1, None]}, {"a\ufffd": ["x\ufffd\ufffd", 1, None]}),
        ({"a": [float("nan"), float("-inf"), 0.5]}, {"a": [None, None, 0.5]}),
        ({"a": "\\u0000, NaN and Infinity"}, {"a": "\\u0000, NaN and Infinity"}),
    ],
)
def test_what_is_refused_is_replaced(value: JsonObject, cleaned: JsonObject) -> None:
    assert clean(value) == cleaned
    assert storable(cleaned)
    assert storable(value) == (value == cleaned)


def test_what_can_be_kept_is_not_copied() -> None:
    value: JsonObject = {"a": ["plain", {"b": 1}]}
    assert clean(value) is value


def test_what_lies_too_deep_is_cut() -> None:
    deep: JsonValue = "bottom"
    for _ in range(200):
        deep = [deep]
    assert str(clean({"a": deep}, deepest=50)).count("[") == 49
    assert clean({"a": [{"b": 1}]}, deepest=3) == {"a": [{"b": 1}]}


def test_texts() -> None:
    assert clean_text("a\x00b \ud83d 👍") == "a\ufffdb \ufffd 👍"


@pytest.mark.parametrize("text", ["", "{", "NaN", "[Infinity]", '{"a": 1e999}', "[" * 100_000, "[" * 201 + "]" * 201])
def test_what_is_no_json_is_not_read(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  whatever it is, nothing was read
        read_clean(text)


def test_what_strangers_wrote_is_read_clean() -> None:
    assert read_clean('{"a\\u0000": [1.5, 1e3, "\\ud800"]}') == {"a\ufffd": [1.5, 1000.0, "\ufffd"]}


def test_what_is_read_can_be_written_again() -> None:
    deep = read_clean("[" * 200 + "]" * 200)
    assert storable({"within": [deep]})
    assert to_json({"within": [deep]})
