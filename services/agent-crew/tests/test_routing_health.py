"""What stands around an attempt: servers that are left alone, limits of accounts, answers that are kept, spans."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator

import pytest
from crewmesh_agent_crew.models.errors import ModelRateLimited, ModelUnavailable
from crewmesh_testkit.openai_fake import OpenAiFake
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from .harness import until
from .passing_time import pass_time
from .routing_parts import account, entry, question, routing

TOOL = {"name": "look", "description": "Look.", "parameters": {"type": "object"}}


@pytest.fixture
async def server() -> AsyncGenerator[OpenAiFake]:
    async with OpenAiFake() as running:
        yield running


@pytest.fixture
async def other() -> AsyncGenerator[OpenAiFake]:
    async with OpenAiFake() as running:
        yield running


class TestLeavingAlone:
    async def test_what_failed_in_a_row_is_asked_no_more_for_a_while(self, valkey: str, server: OpenAiFake) -> None:
        async with routing(valkey, {"first": server.url}, attempts=1, failures=3) as under_test:
            server.fails(500, times=3)
            for _ in range(3):
                with pytest.raises(ModelUnavailable, match="500"):
                    await under_test.ask(question())
            with pytest.raises(ModelUnavailable, match="left alone") as caught:
                await under_test.ask(question())
            assert caught.value.headers["Retry-After"] == "10"
            assert len(server.requests) == 3
            under_test.clock.now += 10
            assert (await under_test.ask(question())).text == "ok"
            assert (await under_test.ask(question())).text == "ok"

    async def test_one_call_tries_it_and_the_others_ask_somebody_else(
        self, valkey: str, server: OpenAiFake, other: OpenAiFake
    ) -> None:
        accounts = {"first": server.url, "second": other.url}
        async with routing(valkey, accounts, attempts=1, failures=1) as under_test:
            server.fails(500)
            assert (await under_test.ask(question())).provider == "second"
            under_test.clock.now += 10
            server.delay = 0.2
            replies = await asyncio.gather(*(under_test.ask(question()) for _ in range(5)))
        assert sorted(reply.provider for reply in replies) == ["first", "second", "second", "second", "second"]

    async def test_nobody_waits_for_what_is_left_alone(
        self, valkey: str, server: OpenAiFake, other: OpenAiFake
    ) -> None:
        accounts = {"first": server.url, "second": other.url}
        async with routing(valkey, accounts, attempts=5, failures=1) as under_test:
            server.fails(500, times=9)
            async with asyncio.timeout(60):
                replies = [await under_test.ask(question()) for _ in range(3)]
        assert [reply.provider for reply in replies] == ["second"] * 3
        assert len(server.requests) == 1

    async def test_each_try_that_fails_doubles_the_wait(self, valkey: str, server: OpenAiFake) -> None:
        async with routing(valkey, {"first": server.url}, attempts=1, failures=1) as under_test:
            server.fails(500, times=9)
            waits: list[str] = []
            for _ in range(6):
                with pytest.raises(ModelUnavailable):
                    await under_test.ask(question())
                with pytest.raises(ModelUnavailable) as caught:
                    await under_test.ask(question())
                waits.append(caught.value.headers["Retry-After"])
                under_test.clock.now += float(waits[-1])
        assert waits == ["10", "20", "40", "80", "120", "120"]

    async def test_a_try_that_nobody_waited_for_decides_nothing(self, valkey: str, server: OpenAiFake) -> None:
        async with routing(valkey, {"first": server.url}, attempts=1, failures=1) as under_test:
            server.fails(500)
            with pytest.raises(ModelUnavailable):
                await under_test.ask(question())
            under_test.clock.now += 10
            server.hangs()
            asking = asyncio.create_task(under_test.ask(question()))
            await until(lambda: len(server.requests) == 2)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert (await under_test.ask(question())).text == "ok"

    async def test_too_much_and_no_are_no_illness(self, valkey: str, server: OpenAiFake) -> None:
        async with routing(valkey, {"first": server.url}, attempts=1, failures=1) as under_test:
            server.fails(429)
            with pytest.raises(ModelRateLimited):
                await under_test.ask(question())
            assert (await under_test.ask(question())).text == "ok"


class TestLimitsOfAccounts:
    async def test_requests_in_a_minute_count_for_all_replicas(self, valkey: str, server: OpenAiFake) -> None:
        limited = account("limited-by-requests", server.url, requests=2)
        async with routing(valkey, [limited]) as one, routing(valkey, [limited]) as another:
            began = time.time()
            for replica in (one, another):
                await replica.ask(question())
            with pytest.raises(ModelRateLimited, match="set for its account") as caught:
                await one.ask(question())
            passed = time.time() - began
        assert 30 - passed <= int(caught.value.headers["Retry-After"]) <= 30
        assert len(server.requests) == 2

    async def test_the_next_is_asked_meanwhile(self, valkey: str, server: OpenAiFake, other: OpenAiFake) -> None:
        accounts = [account("limited-with-another", server.url, requests=1), account("another", other.url)]
        async with routing(valkey, accounts) as under_test:
            providers = [(await under_test.ask(question())).provider for _ in range(3)]
        assert providers == ["limited-with-another", "another", "another"]

    async def test_tokens_are_estimated_and_corrected(self, valkey: str, server: OpenAiFake) -> None:
        """Each is thought to take some 120, and takes 5: by the estimate alone there was room for one."""
        limited = account("limited-by-tokens", server.url, tokens=150)
        async with routing(valkey, [limited]) as under_test:
            for _ in range(4):
                await under_test.ask(question())
            server.answers("word " * 90)
            await under_test.ask(question())
            with pytest.raises(ModelRateLimited):
                await under_test.ask(question())

    async def test_a_call_larger_than_the_limit_goes_when_nothing_else_does(
        self, valkey: str, server: OpenAiFake
    ) -> None:
        limited = account("smaller-than-a-call", server.url, tokens=50)
        async with routing(valkey, [limited]) as under_test:
            assert (await under_test.ask(question())).text == "ok"

    async def test_without_valkey_nobody_is_held_back(self, server: OpenAiFake) -> None:
        limited = account("limited", server.url, requests=1)
        async with routing("redis://127.0.0.1:1", [limited]) as under_test:
            for _ in range(2):
                assert (await under_test.ask(question(cacheable=True, temperature=0.0))).text == "ok"


class TestKeptAnswers:
    async def test_an_equal_question_has_its_answer(self, valkey: str, server: OpenAiFake) -> None:
        asked = question("What is kept?", cacheable=True, temperature=0.0)
        async with routing(valkey, {"first": server.url}) as one, routing(valkey, {"first": server.url}) as another:
            (candidate,) = await one.router.candidates(one.organization, asked)
            assert await one.router.kept(candidate, asked) is None
            reply = await one.router.send(candidate, asked)
            under_another_name = asked.model_copy(update={"model": "alias", "timeout_seconds": 5.0})
            assert await another.router.kept(candidate, under_another_name) == reply

            different = (
                asked.model_copy(update={"messages": question("Another?").messages}),
                asked.model_copy(update={"max_tokens": 7}),
                asked.model_copy(update={"tools": question(tools=(TOOL,)).tools}),
                asked.model_copy(update={"temperature": 0.5}),
                asked.model_copy(update={"cacheable": False}),
            )
            for call in different:
                assert await one.router.kept(candidate, call) is None

    async def test_of_the_same_organization_only(self, valkey: str, server: OpenAiFake) -> None:
        asked = question(cacheable=True, temperature=0.0)
        async with routing(valkey, {"first": server.url}) as under_test:
            await under_test.ask(asked)
            (stranger,) = await under_test.router.candidates("org_somebody_else", asked)
            assert await under_test.router.kept(stranger, asked) is None

    async def test_an_answer_that_was_cut_short_is_not_kept(self, valkey: str, server: OpenAiFake) -> None:
        asked = question(cacheable=True, temperature=0.0, max_tokens=2)
        server.answers("one two three")
        async with routing(valkey, {"first": server.url}) as under_test:
            assert (await under_test.ask(asked)).finish == "length"
            (candidate,) = await under_test.router.candidates(under_test.organization, asked)
            assert await under_test.router.kept(candidate, asked) is None


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))

    def tracer_of(name: str) -> trace.Tracer:
        return provider.get_tracer(name)

    monkeypatch.setattr(trace, "get_tracer", tracer_of)
    return exporter


class TestSpans:
    async def test_they_say_what_was_asked_and_used_but_no_word_of_it(
        self, valkey: str, server: OpenAiFake, spans: InMemorySpanExporter
    ) -> None:
        server.answers("The secret of the mesh")
        async with routing(valkey, {"first": server.url}) as under_test:
            await under_test.ask(question("What is the secret?", temperature=0.5))
        (span,) = spans.get_finished_spans()
        assert span.name == "chat first-at-provider"
        assert dict(span.attributes or {}) == {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "first-at-provider",
            "gen_ai.request.max_tokens": 100,
            "gen_ai.request.temperature": 0.5,
            "gen_ai.output.type": "text",
            "gen_ai.response.model": "first",
            "gen_ai.response.finish_reasons": ("stop",),
            "gen_ai.usage.input_tokens": 4,
            "gen_ai.usage.output_tokens": 5,
            "gen_ai.usage.cache_read.input_tokens": 0,
            "gen_ai.usage.cache_creation.input_tokens": 0,
        }

    async def test_words_are_in_them_where_somebody_said_so(
        self, valkey: str, server: OpenAiFake, spans: InMemorySpanExporter
    ) -> None:
        server.uses_tool("look", {"at": "north"})
        async with routing(valkey, {"first": server.url}, with_content=True) as under_test:
            await under_test.ask(question("Where?", tools=(TOOL,)))
        attributes = spans.get_finished_spans()[0].attributes or {}
        (asked,) = json.loads(str(attributes["gen_ai.input.messages"]))
        (said,) = json.loads(str(attributes["gen_ai.output.messages"]))
        assert asked == {"role": "user", "parts": [{"type": "text", "content": "Where?"}]}
        assert (said["parts"][0]["name"], said["parts"][0]["arguments"]) == ("look", {"at": "north"})

    async def test_a_failure_is_told_by_its_kind(
        self, valkey: str, server: OpenAiFake, spans: InMemorySpanExporter
    ) -> None:
        server.fails(400, message="you asked: the secret")
        async with routing(valkey, {"first": server.url}) as under_test:
            with pytest.raises(Exception, match="secret"):
                await under_test.ask(question("the secret"))
        (span,) = spans.get_finished_spans()
        assert (span.attributes or {})["error.type"] == "refused"
        assert not span.status.is_ok
        assert "secret" not in span.to_json()


async def test_most_at_once_holds_at_one_account(valkey: str, server: OpenAiFake) -> None:
    server.delay = 60
    async with routing(valkey, [account("narrow", server.url, most=4)], [entry("narrow")]) as under_test:
        asking = [asyncio.create_task(under_test.ask(question(timeout_seconds=600))) for _ in range(50)]
        await until(lambda: len(server.requests) == 4)
        server.delay = 0
        pass_time(60)
        replies = await asyncio.gather(*asking)
    assert (len(replies), server.most_at_once) == (50, 4)
