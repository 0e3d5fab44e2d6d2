"""Every protocol, whole and streamed: what is asked arrives, what is answered is understood, failures differ."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest
from crewmesh_agent_crew.models.calls import Image, Message, ModelCall, Tokens, ToolCall, ToolSpec
from crewmesh_agent_crew.providers.adapters import Adapters, open_adapters
from crewmesh_agent_crew.providers.protocol import Account, ProviderKind
from crewmesh_agent_crew.settings import ProvidersSettings, Settings
from crewmesh_contracts.base import JsonObject
from crewmesh_kit.app import Resources
from crewmesh_testkit.model_fake import Says, ToolUse
from crewmesh_testkit.requests_read import Conversation

from .harness import until
from .provider_fakes import FAKES, KEY, QUESTION, Provider, Words, provider

SCHEMA: JsonObject = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
SEARCH = ToolSpec(name="search", description="Finds things.", parameters={"type": "object", "properties": {}})
PIXEL = Image(media_type="image/png", data=base64.b64encode(b"\x89PNG\r\n\x1a\n").decode())


@pytest.fixture
async def adapters() -> AsyncGenerator[Adapters]:
    resources = Resources()
    resources.add(Settings(providers=ProvidersSettings(private_addresses=True)))
    async with open_adapters(resources) as opened:
        yield opened


@pytest.fixture(params=FAKES)
def kind(request: pytest.FixtureRequest) -> ProviderKind:
    return request.param


@pytest.fixture(params=[False, True], ids=["whole", "streamed"])
async def each(kind: ProviderKind, adapters: Adapters, request: pytest.FixtureRequest) -> AsyncGenerator[Provider]:
    async with provider(kind, adapters, streamed=request.param) as asked:
        yield asked


@pytest.fixture
async def streamed(kind: ProviderKind, adapters: Adapters) -> AsyncGenerator[Provider]:
    async with provider(kind, adapters, streamed=True) as asked:
        yield asked


class TestAnswers:
    async def test_words_and_what_they_cost(self, each: Provider) -> None:
        each.fake.answers(Says("A mesh is a net.", cached=1))
        sink = Words()
        reply = await each.ask(sink=sink if each.streamed else None)
        assert (reply.text, reply.finish, reply.model, reply.provider) == ("A mesh is a net.", "stop", "fake", "acme")
        cached = 0 if each.account.kind == "ollama" else 1
        assert reply.tokens == Tokens(input=4, output=5, cached=cached)
        assert sink.text == ("A mesh is a net." if each.streamed else "")
        assert len(sink.said) == (5 if each.streamed else 0)

    async def test_what_is_asked_arrives(self, each: Provider) -> None:
        said = (
            Message(role="system", content="Be brief."),
            Message(role="user", content="one"),
            Message(role="assistant", content="two"),
            Message(role="user", content="three"),
        )
        await each.ask(ModelCall(messages=said, max_tokens=7, temperature=0.5))
        (asked,) = each.fake.requests
        assert asked.prompt == "Be brief.\none\ntwo\nthree"
        assert (asked.model, asked.most_tokens, asked.streamed) == ("fake", 7, each.streamed)

    async def test_an_answer_that_is_cut_by_its_limit(self, each: Provider) -> None:
        each.fake.answers("one two three four")
        reply = await each.ask(QUESTION.model_copy(update={"max_tokens": 2}))
        assert (reply.text, reply.finish) == ("one two", "length")

    async def test_an_answer_that_the_provider_withheld(self, each: Provider) -> None:
        each.fake.answers(Says("I", finish="filtered"))
        wanted = "stop" if each.account.kind == "ollama" else "filtered"
        assert (await each.ask()).finish == wanted

    async def test_nul_characters_leave_a_mark(self, each: Provider) -> None:
        each.fake.answers("a\0b c\0")
        assert (await each.ask()).text == "a\ufffdb c\ufffd"

    async def test_an_empty_answer_is_none(self, each: Provider) -> None:
        each.fake.answers("")
        failure = await each.failure()
        assert (failure.kind, failure.tokens_paid) == ("cut", True)

    async def test_a_server_that_does_not_count(self, each: Provider) -> None:
        if each.account.kind in ("anthropic", "bedrock") and each.streamed:
            return  # these always count in their streams
        each.fake.counts_tokens = False
        assert (await each.ask()).tokens == Tokens()

    async def test_an_image(self, each: Provider) -> None:
        await each.ask(ModelCall(messages=(Message(role="user", content="What is it?", images=(PIXEL,)),)))
        (asked,) = each.fake.requests
        images = asked.images if isinstance(asked, Conversation) else len(asked.last.images)
        assert (asked.prompt, images) == ("What is it?", 1)


class TestTools:
    async def test_the_model_calls_two_and_sees_what_they_gave(self, each: Provider) -> None:
        uses = (ToolUse("search", {"query": "a mesh", "limit": 3}), ToolUse("search"))
        each.fake.answers(Says("I look.", tools=uses), "Found.")
        question = ModelCall(messages=QUESTION.messages, tools=(SEARCH,))
        reply = await each.ask(question)
        assert (reply.text, reply.finish) == ("I look.", "tools")
        assert [(call.name, call.arguments) for call in reply.tool_calls] == [(use.name, use.arguments) for use in uses]
        assert len({call.id for call in reply.tool_calls}) == 2
        said = Message(role="assistant", content=reply.text, tool_calls=reply.tool_calls)
        results = tuple(Message(role="tool", content=f"{call.id}!", answers=call.id) for call in reply.tool_calls)
        again = question.model_copy(update={"messages": (*question.messages, said, *results)})
        assert (await each.ask(again)).text == "Found."
        assert all(f"{call.id}!" in each.fake.requests[1].prompt for call in reply.tool_calls)

    async def test_a_conversation_with_tools_goes_on_without_any(self, each: Provider) -> None:
        """Also one that began at another provider, whose ids look otherwise."""
        call = ToolCall(id="toolu:01/é", name="search", arguments={"query": "x"})
        said = Message(role="assistant", tool_calls=(call,))
        result = Message(role="tool", content="a net", answers=call.id)
        reply = await each.ask(ModelCall(messages=(*QUESTION.messages, said, result)))
        assert reply.text == "ok"
        assert "a net" in each.fake.requests[0].prompt

    async def test_arguments_that_are_no_json_object(self, streamed: Provider) -> None:
        if streamed.account.kind in ("google", "ollama"):
            return  # these carry arguments as JSON, so that they cannot be broken
        streamed.fake.answers(Says(tools=(ToolUse("search", '{"query": "a'), ToolUse("search", "[1]"))))
        reply = await streamed.ask(ModelCall(messages=QUESTION.messages, tools=(SEARCH,)))
        assert [call.broken for call in reply.tool_calls] == ['{"query": "a', "[1]"]
        said = Message(role="assistant", tool_calls=reply.tool_calls)
        results = tuple(Message(role="tool", content="no", answers=call.id) for call in reply.tool_calls)
        again = ModelCall(messages=(*QUESTION.messages, said, *results), tools=(SEARCH,))
        assert (await streamed.ask(again)).text == "ok"


class TestFormats:
    async def test_a_schema_is_forced(self, each: Provider) -> None:
        each.fake.answers('{"n": 1}')
        assert (await each.ask(QUESTION.model_copy(update={"schema_": SCHEMA}))).text == '{"n": 1}'
        (asked,) = each.fake.requests
        schema = asked.schema if isinstance(asked, Conversation) else asked.schema_asked_for
        assert schema == SCHEMA

    async def test_a_server_that_refuses_the_format_is_asked_in_words(self, each: Provider) -> None:
        each.fake.fails(400, times=2 if _is_chat(each) else 1)
        each.fake.answers('{"n": 1}')
        asked_for_json = ModelCall(messages=(Message(role="user", content="As JSON!"),), schema_=SCHEMA)
        assert (await each.ask(asked_for_json)).text == '{"n": 1}'
        last = each.fake.requests[-1]
        assert (last.schema if isinstance(last, Conversation) else last.schema_asked_for) is None

    async def test_a_model_that_takes_no_temperature(self, each: Provider) -> None:
        each.fake.fails(400, message="temperature is not supported with this model")
        warm = QUESTION.model_copy(update={"temperature": 0.5, "schema_": SCHEMA})
        assert (await each.ask(warm)).text == "ok"
        (_, again) = each.fake.requests
        assert (again.schema if isinstance(again, Conversation) else again.schema_asked_for) == SCHEMA

    async def test_a_final_refusal_ends_it(self, each: Provider) -> None:
        each.fake.fails(400, times=9, message="no such thing")
        failure = await each.failure(QUESTION.model_copy(update={"temperature": 0.5, "schema_": SCHEMA}))
        assert (failure.kind, failure.tokens_paid) == ("refused", False)
        assert "no such thing" in failure.detail


def _is_chat(asked: Provider) -> bool:
    return asked.account.kind in ("openai", "openai-compatible", "mistral")


class TestFailures:
    @pytest.mark.parametrize(
        ("status", "wanted"),
        [
            (401, "bad-key"),
            (403, "bad-key"),
            (402, "bad-key"),
            (404, "refused"),
            (413, "too-long"),
            (429, "limited"),
            (500, "unavailable"),
            (502, "unavailable"),
            (503, "overloaded"),
            (504, "unavailable"),
            (529, "overloaded"),
            (302, "refused"),
        ],
    )
    async def test_what_a_status_means(self, each: Provider, status: int, wanted: str) -> None:
        each.fake.fails(status, retry_after="7")
        failure = await each.failure()
        assert (failure.kind, failure.tokens_paid, failure.pause) == (wanted, False, 7.0)

    async def test_a_key_that_is_quoted_stays_secret(self, each: Provider) -> None:
        each.fake.fails(400, message=f"what is {KEY} doing here?")
        failure = await each.failure()
        assert KEY not in f"{failure!r} {failure.detail}"

    async def test_a_wrong_key_stays_secret(self, each: Provider) -> None:
        account = Account(
            name="acme",
            kind=each.account.kind,
            base_url=each.account.base_url,
            key="sk-secret-9876543210",
            options=each.account.options,
        )
        failure = await Provider(each.adapters, each.fake, account, each.streamed).failure()
        assert failure.kind == "bad-key"
        assert "9876543210" not in f"{failure!r} {failure.detail} {account!r}"

    async def test_an_answer_that_breaks_off(self, each: Provider) -> None:
        each.fake.cuts()
        failure = await each.failure()
        assert (failure.kind, failure.tokens_paid) == ("cut", True)

    async def test_a_stream_without_its_last_word(self, streamed: Provider) -> None:
        streamed.fake.ends_early()
        failure = await streamed.failure()
        assert (failure.kind, failure.tokens_paid) == ("cut", True)

    async def test_what_is_no_json(self, each: Provider) -> None:
        each.fake.garbles()
        failure = await each.failure()
        assert (failure.kind, failure.tokens_paid) == ("unreadable", True)

    @pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"choices": []}', b"null", b"\xff\xfe"])
    async def test_what_is_no_answer(self, each: Provider, body: bytes) -> None:
        each.fake.fails(200, body=body)
        assert (await each.failure()).kind in ("unreadable", "cut")

    async def test_an_endless_answer(self, each: Provider) -> None:
        each.fake.fails(200, body=b"x" * 5_000_000)
        failure = await each.failure()
        assert failure.kind == ("cut" if each.streamed and each.account.kind != "bedrock" else "unreadable") or (
            "larger than" in failure.detail
        )

    @pytest.mark.parametrize("how", ["hang", "stall", "delay"])
    async def test_nobody_waits_any_more(self, each: Provider, how: str) -> None:
        match how:
            case "hang":
                each.fake.hangs()
            case "stall":
                each.fake.stalls()
            case _:
                each.fake.delay = 60
        asking = asyncio.create_task(each.ask())
        await until(lambda: bool(each.fake.requests))
        asking.cancel()
        await until(lambda: each.fake.abandoned == 1)
        with pytest.raises(asyncio.CancelledError):
            await asking

    async def test_a_server_that_is_away(self, kind: ProviderKind, adapters: Adapters) -> None:
        async with provider(kind, adapters, streamed=False) as asked:
            nobody_is_there = replace(asked, account=replace(asked.account, base_url="http://127.0.0.1:1"))
            failure = await nobody_is_there.failure()
        assert (failure.kind, failure.tokens_paid) == ("unavailable", False)


class TestModels:
    async def test_what_an_account_may_ask(self, kind: ProviderKind, adapters: Adapters) -> None:
        async with provider(kind, adapters, streamed=False) as asked:
            assert await adapters.models(asked.account) == ["fake"]


async def test_a_connection_serves_one_stream_after_the_other(
    streamed: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What follows the last word of a stream is read, so that the connection is kept."""
    monkeypatch.setattr("crewmesh_agent_crew.providers.http._END_SECONDS", 60)
    for _ in range(3):
        await streamed.ask()
    assert streamed.fake.connections == 1
