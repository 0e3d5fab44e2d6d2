"""What answers mean, and that nothing the other side sends breaks what carries and stores a reply."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from crewmesh_contracts.base import JsonValue
from crewmesh_contracts.invocations import HttpReply
from crewmesh_integration.guard.client import OutboundAnswer
from crewmesh_integration.http_requests.errors import UpstreamRefused, UpstreamUnavailable
from crewmesh_integration.http_requests.replies import BODY_NOTE, judge


def answer(
    status: int = 200,
    *,
    body: bytes = b"",
    content_type: str = "application/json",
    charset: str | None = None,
    headers: dict[str, str] | None = None,
    note: str | None = None,
) -> OutboundAnswer:
    return OutboundAnswer(
        status=status,
        headers=headers or {},
        content_type=content_type,
        charset=charset,
        body=body,
        note=note,
        most_bytes=1_000,
        redirects=0,
    )


def reply(given: OutboundAnswer) -> HttpReply:
    judged = judge(given, host="example.com")
    assert isinstance(judged, HttpReply)
    return judged


@pytest.mark.parametrize("status", [200, 201, 204, 299, 300, 304])
def test_successes_and_final_redirects_are_replies(status: int) -> None:
    assert reply(answer(status)).status == status


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 422, 499])
def test_a_refusal_is_final_and_says_what_was_said(status: int) -> None:
    judged = judge(answer(status, body=b'{"error": "no such thing"}'), host="example.com")
    assert isinstance(judged, UpstreamRefused)
    assert not judged.retryable
    assert judged.detail == f'example.com answered {status}: {{"error": "no such thing"}}'
    assert judged.extensions["upstream_status"] == status


@pytest.mark.parametrize("status", [101, 408, 425, 429, 500, 501, 502, 503, 504, 599])
def test_what_may_pass_may_be_tried_again(status: int) -> None:
    judged = judge(answer(status, body=b"canary"), host="example.com")
    assert isinstance(judged, UpstreamUnavailable)
    assert judged.retryable
    assert "canary" not in judged.detail, "this detail is logged"
    assert judged.extensions["upstream_said"] == "canary"


@pytest.mark.parametrize(
    ("wish", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        ("999999999999999999999", 86_400),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("١٢", None),
        pytest.param(format_datetime(datetime.now(UTC) - timedelta(hours=1), usegmt=True), 0, id="an hour ago"),
        ("Mon, 01 Jan 9999 00:00:00 GMT", 86_400),
        ("Mon, 01 Jan 99999 00:00:00 GMT", None),
    ],
)
def test_the_wish_to_wait_is_passed_on(wish: str, seconds: int | None) -> None:
    judged = judge(answer(503, headers={"Retry-After": wish}), host="example.com")
    assert isinstance(judged, UpstreamUnavailable)
    assert judged.extensions["retry_after"] == seconds
    assert judged.headers == ({} if seconds is None else {"Retry-After": str(seconds)})


def test_a_date_is_turned_into_seconds() -> None:
    wish = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    judged = judge(answer(429, headers={"retry-after": wish}), host="example.com")
    assert isinstance(judged, UpstreamUnavailable)
    seconds = judged.extensions["retry_after"]
    assert isinstance(seconds, int)
    assert 3_300 < seconds <= 3_600


@pytest.mark.parametrize(
    ("body", "content_type", "charset", "expected"),
    [
        (b"", "application/json", None, None),
        (b'{"a": [1, 2.5, null, true, "\xc3\xa4"]}', "application/json", None, {"a": [1, 2.5, None, True, "ä"]}),
        (b"\xef\xbb\xbf[]", "application/json", None, []),
        (b'{"type": "x"}', "application/problem+json", None, {"type": "x"}),
        (b'{"a": 1}', "text/html", None, '{"a": 1}'),
        (b"not json", "application/json", None, "not json"),
        (b'{"a": NaN}', "application/json", None, '{"a": NaN}'),
        (b'{"a": 1e999}', "application/json", None, '{"a": 1e999}'),
        (b"gr\xfc\xdf", "text/plain", "iso-8859-1", "grüß"),
        (b"gr\xfc\xdf", "text/plain", None, "gr\ufffd\ufffd"),
        (b"xyz", "text/plain", "rot13", "xyz"),
        (b"xyz", "text/plain", "no-such-charset", "xyz"),
        (b"a\x00b\x1b", "text/plain", None, "a\ufffdb\ufffd"),
        (b'{"a\\u0000": "\\u0000\\ud800"}', "application/json", None, {"a\ufffd": "\ufffd\ufffd"}),
    ],
)
def test_bodies(body: bytes, content_type: str, charset: str | None, expected: JsonValue) -> None:
    assert reply(answer(body=body, content_type=content_type, charset=charset)).body == expected


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        (b"\x89PNG\r\n\x1a\n\x00", "image/png", None),
        (b"\x1f\x8b\x08\x00", "application/gzip", None),
        (b"\x00\x01", "application/octet-stream", None),
        (b"gr\xfc\xdf", "application/octet-stream", None),
        ("grüß\n".encode(), "application/octet-stream", "grüß\n"),
        (b"<svg/>", "image/svg+xml", "<svg/>"),
        (b"a=1&b=%20", "application/x-www-form-urlencoded", "a=1&b=%20"),
    ],
)
def test_what_is_no_text_is_not_spoilt(body: bytes, content_type: str, text: str | None) -> None:
    said = reply(answer(body=body, content_type=content_type)).body
    if text is not None:
        assert said == text
        return
    assert isinstance(said, dict)
    assert said["content_type"] == content_type
    assert base64.b64decode(str(said["base64"])) == body


def test_base64_is_no_longer_than_a_body_may_be() -> None:
    said = reply(answer(body=b"\xff" * 1_000, content_type="image/png"))
    assert isinstance(said.body, dict)
    assert len(str(said.body["base64"])) <= 1_000
    assert said.headers == {BODY_NOTE: "cut after 750 bytes"}


def test_a_text_that_is_cut_within_a_character_is_a_text() -> None:
    cut = answer(body="grü".encode()[:-1], content_type="application/octet-stream", note="cut after 3 bytes")
    assert reply(cut).body == "gr\ufffd"


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000 + b"]" * 100_000,
        b"[" * 200 + b"]" * 200,
        b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        b"9" * 10_000,
        b"[" + b"1e15," * 200_000 + b"1]",
        b"\x01" * 1_000_000,
        b"\xff" * 1_000_000,
        b'["' + b"\\u0001" * 100_000 + b'"]',
    ],
    ids=["nested", "a little nested", "nested objects", "huge number", "growing", "controls", "not text", "escapes"],
)
def test_every_reply_fits_through_the_sidecar_and_into_postgresql(body: bytes) -> None:
    written = reply(answer(body=body)).model_dump_json()
    assert len(written) < 4_000_000
    json.loads(written)


def test_a_cut_body_is_text_and_says_so() -> None:
    said = reply(answer(body=b'{"a": 1, "b', headers={BODY_NOTE.title(): "forged"}, note="cut after 11 bytes"))
    assert said.body == '{"a": 1, "b'
    assert said.headers == {BODY_NOTE: "cut after 11 bytes"}


def test_headers_are_lower_case_bounded_and_without_cookies() -> None:
    headers = {"X-Mine": "a\x00\udcff", "Set-Cookie": "session=canary", "Connection": "close", "X-Long": "x" * 9_000}
    said = reply(answer(headers=headers | {f"X-{number}": "" for number in range(500)})).headers
    assert said["x-mine"] == "a\ufffd\ufffd"
    assert len(said["x-long"]) == 2_000
    assert "canary" not in str(said)
    assert "connection" not in said
    assert len(said) <= 100
