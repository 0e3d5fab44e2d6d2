"""What callers may say about a request, and what is Crewmesh's own to say."""

from __future__ import annotations

from typing import cast

import pytest
from crewmesh_contracts.base import JsonValue
from crewmesh_contracts.invocations import HttpSend
from crewmesh_integration.http_requests.outgoing import outgoing
from crewmesh_kit.errors import ValidationFailed
from pydantic import ValidationError

URL = "https://example.com/hook"


def _paths(failed: ValidationFailed) -> list[str]:
    errors = cast("list[dict[str, str]]", failed.extensions["errors"])
    return [error["path"] for error in errors]


@pytest.mark.parametrize(
    "name",
    [
        "Host",
        "HOST",
        "Content-Length",
        "content_length",
        "Transfer-Encoding",
        "transfer_encoding",
        "Connection",
        "Keep-Alive",
        "Proxy-Authorization",
        "TE",
        "Trailer",
        "Upgrade",
        "Expect",
        "Accept-Encoding",
        "webhook-id",
        "Webhook-Signature",
        "webhook_timestamp",
        "WEBHOOK-anything",
    ],
)
def test_headers_that_are_ours(name: str) -> None:
    with pytest.raises(ValidationFailed) as failed:
        outgoing(HttpSend(url=URL, headers={name: "canary"}))
    assert _paths(failed.value) == [f"body.headers.{name}"]
    assert "canary" not in str(failed.value.document())


@pytest.mark.parametrize("value", ["a\r\nX-Injected: 1", "a\nb", "a\rb", "a\x00b", "a\n", "ä"])
def test_header_values_cannot_break_out(value: str) -> None:
    with pytest.raises(ValidationError):
        HttpSend(url=URL, headers={"X-Mine": value})


@pytest.mark.parametrize("name", ["X Mine", "X-Mine:", "X-Mine\r\n", "", "X-Mine\n", "ä"])
def test_header_names_cannot_break_out(name: str) -> None:
    with pytest.raises(ValidationError):
        HttpSend(url=URL, headers={name: "1"})


def test_the_same_header_twice() -> None:
    with pytest.raises(ValidationFailed) as failed:
        outgoing(HttpSend(url=URL, headers={"X-Mine": "1", "x_mine": "2"}))
    assert _paths(failed.value) == ["body.headers.x_mine"]


def test_everything_wrong_is_told_at_once_and_nothing_is_repeated() -> None:
    with pytest.raises(ValidationFailed) as failed:
        outgoing(HttpSend(url="http://me:canary@example.com", headers={"Host": "canary"}, body=float("nan")))
    assert _paths(failed.value) == ["body.url", "body.headers.Host", "body.body"]
    assert "canary" not in str(failed.value.document())


@pytest.mark.parametrize(
    ("body", "headers", "sent", "content_type"),
    [
        (None, {}, None, None),
        ({"a": [1, "ä", None]}, {}, '{"a":[1,"ä",null]}'.encode(), "application/json"),
        ("text", {}, b'"text"', "application/json"),
        ("text", {"content-type": "text/plain"}, b"text", "text/plain"),
        ("a=1&b=2", {"Content-Type": "application/x-www-form-urlencoded"}, b"a=1&b=2", None),
        ({"a": 1}, {"Content-Type": "text/plain"}, b'{"a":1}', "text/plain"),
        ("text", {"Content-Type": "application/vnd.api+json"}, b'"text"', "application/vnd.api+json"),
        (False, {}, b"false", "application/json"),
        (0, {}, b"0", "application/json"),
        ("", {}, b'""', "application/json"),
    ],
)
def test_bodies(body: JsonValue, headers: dict[str, str], sent: bytes | None, content_type: str | None) -> None:
    request = outgoing(HttpSend(url=URL, headers=headers, body=body))
    assert request.body == sent
    if content_type is not None:
        assert content_type in request.headers.values()
    assert len(request.headers) <= 1


def test_text_that_looks_like_a_template_goes_out_as_it_is() -> None:
    assert outgoing(HttpSend(url=URL, body={"text": "{{7*7}}"})).body == b'{"text":"{{7*7}}"}'
