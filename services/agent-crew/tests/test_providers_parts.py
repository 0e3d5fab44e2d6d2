"""The small parts of the protocols: signatures, frames, lines, what a refusal means, how long to wait."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from crewmesh_agent_crew.models.calls import Tokens
from crewmesh_agent_crew.providers.draft import MOST_CHARACTERS, Draft
from crewmesh_agent_crew.providers.failures import failure_of, pause_in
from crewmesh_agent_crew.providers.frames import frames
from crewmesh_agent_crew.providers.protocol import ProviderError
from crewmesh_agent_crew.providers.signing import signed
from crewmesh_agent_crew.providers.streams import events, lines
from crewmesh_contracts.base import JsonObject
from crewmesh_testkit.bedrock_fake import frame


async def pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def test_a_signature_as_aws_publishes_it() -> None:
    """post-x-www-form-urlencoded of the test suite of Signature Version 4."""
    headers = signed(
        "POST",
        "https://example.amazonaws.com/",
        b"Param1=value1",
        region="us-east-1",
        service="service",
        key_id="AKIDEXAMPLE",
        secret="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        at=datetime(2015, 8, 30, 12, 36, tzinfo=UTC),
        content_type="application/x-www-form-urlencoded",
    )
    signature = "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"
    assert headers["Authorization"].endswith(f"SignedHeaders=content-type;host;x-amz-date, Signature={signature}")


class TestFrames:
    @pytest.mark.parametrize("size", [1, 7, 64, 10_000])
    async def test_they_are_found_however_they_are_cut(self, size: int) -> None:
        data = frame("messageStart", {"role": "assistant"}) + frame("metadata", {"é": "ü" * 100})
        found = [each async for each in frames(pieces(data, size))]
        assert [each.headers[":event-type"] for each in found] == ["messageStart", "metadata"]
        assert json.loads(found[1].payload) == {"é": "ü" * 100}

    @pytest.mark.parametrize("at", [0, 5, 9, 14, 40, -1])
    async def test_a_changed_byte_is_noticed(self, at: int) -> None:
        data = bytearray(frame("messageStart", {"role": "assistant"}) + frame("metadata", {}))
        data[at] ^= 1
        with pytest.raises(ProviderError, match="no event stream"):
            _ = [each async for each in frames(pieces(bytes(data), 64))]

    async def test_a_cut_one_is_left_out(self) -> None:
        data = frame("messageStart", {}) + frame("metadata", {})[:-3]
        assert len([each async for each in frames(pieces(data, 64))]) == 1


class TestLines:
    @pytest.mark.parametrize("size", [1, 3, 1_000])
    async def test_events_are_found_however_they_are_cut(self, size: int) -> None:
        data = ': hello\r\n\r\nevent: delta\ndata: é\ndata:two\nid: 7\n\ndata: {"x": 1}\n\nevent: lost\n\ndata: cut'
        found = [(event.name, event.data) async for event in events(pieces(data.encode(), size))]
        assert found == [("delta", "é\ntwo"), ("message", '{"x": 1}')]

    async def test_a_line_without_end(self) -> None:
        with pytest.raises(ProviderError, match="larger than"):
            _ = [line async for line in lines(pieces(b"x" * (5 * 1024 * 1024), 65_536))]


class TestDrafts:
    def test_an_answer_without_end(self) -> None:
        draft = Draft()
        for _ in range(MOST_CHARACTERS // 1_024):
            draft.say("x" * 1_024)
        with pytest.raises(ProviderError, match="larger than"):
            draft.say("x")

    def test_tool_calls_without_end(self) -> None:
        draft = Draft()
        for at in range(128):
            draft.call(at, name="x")
        with pytest.raises(ProviderError, match="too many"):
            draft.call(128, name="x")

    @pytest.mark.parametrize("written", ["", "  ", "{}"])
    def test_a_call_without_arguments(self, written: str) -> None:
        draft = Draft()
        draft.call(0, name="x", arguments=written)
        (call,) = draft.reply(provider="p", model="m").tool_calls
        assert (call.arguments, call.broken, call.id) == ({}, None, "call_0")

    @pytest.mark.parametrize("written", ['{"a": NaN}', '{"a": 1e999}', "[" * 100_000, '"text"', '{"a": 1} {"b": 2}'])
    def test_arguments_that_are_no_object(self, written: str) -> None:
        draft = Draft()
        draft.call(0, name="x", arguments=written)
        (call,) = draft.reply(provider="p", model="m").tool_calls
        assert (call.arguments, call.broken) == ({}, written)

    def test_what_no_database_keeps_is_seen_to_be_missing(self) -> None:
        draft = Draft()
        draft.call(0, name="x\0", arguments=json.dumps({"a\0": ["\0b", "\ud800"]}))
        (call,) = draft.reply(provider="p", model="m").tool_calls
        assert (call.name, call.arguments) == ("x\ufffd", {"a\ufffd": ["\ufffdb", "\ufffd"]})


def refusal(message: str, **more: str) -> bytes:
    return json.dumps({"error": {"message": message, **more}}).encode()


class TestRefusals:
    @pytest.mark.parametrize(
        ("status", "body", "kind"),
        [
            (400, refusal("too big", code="context_length_exceeded"), "too-long"),
            (400, refusal("prompt is too long: 208310 tokens > 200000 maximum"), "too-long"),
            (400, refusal("The input token count (1200000) exceeds the maximum number of tokens allowed"), "too-long"),
            (400, b'{"message": "Input is too long for requested model."}', "too-long"),
            (400, refusal("x", code="content_filter"), "filtered"),
            (400, refusal("API key not valid. Please pass a valid API key."), "bad-key"),
            (400, refusal("Your credit balance is too low to access the Anthropic API."), "bad-key"),
            (429, refusal("You exceeded your current quota", code="insufficient_quota"), "bad-key"),
            (429, refusal("slow down", code="rate_limit_exceeded"), "limited"),
            (413, refusal("Request too large on tokens per minute (TPM)", code="rate_limit_exceeded"), "limited"),
            (400, refusal("Unknown parameter"), "refused"),
            (404, b"<html>", "refused"),
            (418, b"", "refused"),
            (400, b'[{"error": {"code": 400, "message": "x", "status": "INVALID_ARGUMENT"}}]', "refused"),
            (599, b"\xff", "unavailable"),
        ],
    )
    def test_what_it_means(self, status: int, body: bytes, kind: str) -> None:
        assert failure_of(status, {}, body).kind == kind

    def test_a_long_message_is_shortened(self) -> None:
        assert len(failure_of(400, {}, refusal("x" * 10_000)).detail) < 400

    @pytest.mark.parametrize("key", ["sk-ant-api03-abcdef", "gsk_abcdefgh12", "AIzaSyA-abcdefg", "Bearer abcdefghi"])
    def test_what_looks_like_a_key_is_not_passed_on(self, key: str) -> None:
        assert key not in failure_of(400, {}, refusal(f"what is {key} here")).detail


class TestPauses:
    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({"Retry-After": "7"}, 7.0),
            ({"Retry-After": "1.5"}, 1.5),
            ({"Retry-After": "0"}, 0.0),
            ({"retry-after-ms": "250"}, 0.25),
            ({"x-ratelimit-reset-requests": "1s", "x-ratelimit-reset-tokens": "6m0s"}, 360.0),
            ({"x-ratelimit-reset-tokens": "7.66s"}, 7.66),
            ({"x-ratelimit-reset-requests": "120ms"}, 0.12),
            ({"x-ratelimit-reset-requests": "1h2m3s"}, 3600.0),
            ({"Retry-After": "999999999"}, 3600.0),
            ({"Retry-After": "soon"}, None),
            ({"Retry-After": "-5"}, None),
            ({"x-ratelimit-reset-requests": ""}, None),
            ({}, None),
        ],
    )
    def test_how_long(self, headers: dict[str, str], seconds: float | None) -> None:
        assert pause_in(headers) == seconds

    def test_until_when(self) -> None:
        soon = datetime.now(UTC) + timedelta(minutes=30)
        for headers in (
            {"Retry-After": format_datetime(soon, usegmt=True)},
            {"anthropic-ratelimit-requests-reset": soon.isoformat().replace("+00:00", "Z")},
        ):
            pause = pause_in(headers)
            assert pause is not None
            assert 1_500 < pause <= 1_800

    def test_what_google_says_in_the_error(self) -> None:
        details: list[JsonObject] = [
            {"@type": "type.googleapis.com/google.rpc.Help"},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "20s"},
        ]
        body = json.dumps({"error": {"code": 429, "message": "x", "details": details}}).encode()
        assert failure_of(429, {}, body).pause == 20.0

    @pytest.mark.parametrize("piece", ["9", "1h", "x"])
    def test_time_grows_with_the_text_and_no_faster(self, piece: str) -> None:
        def takes(text: str) -> float:
            began = time.thread_time()
            pause_in({"Retry-After": text, "x-ratelimit-reset": text})
            failure_of(400, {}, text.encode())
            return time.thread_time() - began

        short = max(min(takes(piece * 1_000) for _ in range(3)), 0.001)
        assert takes(piece * 100_000) < 100 * short * 20


async def test_a_line_in_very_many_pieces_is_not_copied_for_each() -> None:
    async def takes(data: bytes) -> float:
        began = time.thread_time()
        found = [line async for line in lines(pieces(data, 1))]
        assert sum(len(line) + 1 for line in found) == len(data)
        return time.thread_time() - began

    many = 500_000
    assert await takes(b"x" * (2 * many - 1) + b"\n") < await takes(b"x\n" * many) * 20


@pytest.mark.parametrize("counted", [Tokens(input=-5), Tokens(input=3, cached=-1), Tokens(input=1, output=10**30)])
def test_counts_that_cannot_be_true_are_none(counted: Tokens) -> None:
    draft = Draft()
    draft.say("Hello")
    draft.tokens = counted
    assert draft.reply(provider="p", model="m").tokens == Tokens()
