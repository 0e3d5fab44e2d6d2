"""What becomes of a webhook's body."""

from __future__ import annotations

from contextlib import suppress

import pytest
from crewmesh_contracts.base import JsonValue
from crewmesh_kit.errors import InvalidRequest, MalformedJson
from crewmesh_workflow.hooks.body import by_name, parse_body
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("content_type", "body", "expected"),
    [
        ("application/json", b'{"a": [1, 2.5, null]}', {"a": [1, 2.5, None]}),
        ("Application/JSON; charset=utf-8", b'"x"', "x"),
        ("application/cloudevents+json", b"[]", []),
        ("application/json", b"", None),
        ("", b"", None),
        ("application/x-www-form-urlencoded", b"a=1&b=x%20y&a=2&c=", {"a": ["1", "2"], "b": "x y", "c": ""}),
        ("text/plain", "é".encode(), "é"),
        ("text/plain; charset=latin-1", b"\xe9", "é"),
        ("text/plain; charset=nonsense", b"a", {"base64": "YQ==", "content_type": "text/plain; charset=nonsense"}),
        ("text/plain", b"\xff", {"base64": "/w==", "content_type": "text/plain"}),
        ("application/xml", b"<a/>", "<a/>"),
        ("image/png", b"\x89", {"base64": "iQ==", "content_type": "image/png"}),
        ("", b"a", {"base64": "YQ==", "content_type": ""}),
        (";;=", b"a", "a"),
    ],
)
def test_by_content_type(content_type: str, body: bytes, expected: JsonValue) -> None:
    assert parse_body(body, content_type) == expected


@pytest.mark.parametrize("body", [b"{", b"\xff", b'{"a": }', b"[" * 100_000, b"{} {}"])
def test_json_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedJson):
        parse_body(body, "application/json")


@pytest.mark.parametrize("body", [b"\xff=1", b"a=%ff", b"&".join([b"a=1"] * 1_001)])
def test_forms_have_limits(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        parse_body(body, "application/x-www-form-urlencoded")


@given(st.binary(max_size=200), st.text(max_size=40))
def test_anything_is_parsed_or_refused(body: bytes, content_type: str) -> None:
    with suppress(InvalidRequest):
        parse_body(body, content_type)


def test_repeated_names_become_lists() -> None:
    assert by_name([("a", "1"), ("a", "2"), ("a", "3"), ("b", "")]) == {"a": ["1", "2", "3"], "b": ""}
