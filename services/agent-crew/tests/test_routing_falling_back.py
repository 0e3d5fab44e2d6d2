"""From one candidate to the next: who is asked again, who is left, and what the caller is told in the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from functools import partial

import pytest
from crewmesh_agent_crew.guardrails.errors import ForbiddenByPolicy
from crewmesh_agent_crew.models.errors import (
    ModelFiltered,
    ModelRateLimited,
    ModelRefused,
    ModelTimeout,
    ModelUnavailable,
    ModelUnsuitable,
    ModelWithoutAccount,
    PromptTooLong,
    UnknownModel,
)
from crewmesh_kit.errors import Problem
from crewmesh_testkit.openai_fake import OpenAiFake

from .harness import until
from .passing_time import pass_time
from .provider_fakes import Words
from .routing_parts import entry, question, routing


@pytest.fixture
async def first() -> AsyncGenerator[OpenAiFake]:
    async with OpenAiFake() as server:
        yield server


@pytest.fixture
async def second() -> AsyncGenerator[OpenAiFake]:
    async with OpenAiFake() as server:
        yield server


class TestInPlace:
    @pytest.mark.parametrize("status", [429, 500, 502, 503, 529])
    async def test_what_passes_is_waited_for(self, valkey: str, first: OpenAiFake, status: int) -> None:
        first.fails(status, times=2, retry_after="0")
        async with routing(valkey, {"first": first.url}) as under_test:
            reply = await under_test.ask(question())
        assert (reply.text, reply.model, reply.provider, len(first.requests)) == ("ok", "first", "first", 3)
        assert first.requests[0].model == "first-at-provider"

    async def test_a_longer_wait_than_anybody_has_patience_for_is_told_at_once(
        self, valkey: str, first: OpenAiFake
    ) -> None:
        first.fails(429, times=9, retry_after="33")
        async with routing(valkey, {"first": first.url}) as under_test:
            with pytest.raises(ModelRateLimited) as caught:
                await under_test.ask(question())
        assert caught.value.headers["Retry-After"] == "33"
        assert len(first.requests) == 1

    async def test_nobody_waits_longer_than_the_call_may_take(self, valkey: str, first: OpenAiFake) -> None:
        first.fails(429, times=9, retry_after="60")
        async with routing(valkey, {"first": first.url}, longest_pause=100) as under_test:
            with pytest.raises(ModelRateLimited):
                await under_test.ask(question(timeout_seconds=50))
        assert len(first.requests) == 1

    async def test_what_was_paid_for_is_asked_anew_only_by_whoever_pays(self, valkey: str, first: OpenAiFake) -> None:
        """``send`` gives it up at once; the course offers the same candidate again."""
        first.cuts(times=2)
        async with routing(valkey, {"first": first.url}) as under_test:
            assert (await under_test.ask(question())).text == "ok"
            first.cuts(times=9)
            with pytest.raises(ModelUnavailable):
                await under_test.ask(question())
        assert len(first.requests) == 6

    async def test_the_limit_of_the_entry_holds_for_what_is_left_out_and_for_what_is_too_much(
        self, valkey: str, first: OpenAiFake
    ) -> None:
        async with routing(valkey, {"first": first.url}, [entry("first", output=200)]) as under_test:
            await under_test.ask(question())
            await under_test.ask(question(max_tokens=50))
            await under_test.ask(question(max_tokens=5_000))
        assert [asked.max_tokens for asked in first.requests] == [100, 50, 200]


class TestTheNext:
    @pytest.mark.parametrize("status", [401, 429, 500, 529])
    async def test_it_answers_when_the_first_does_not(
        self, valkey: str, first: OpenAiFake, second: OpenAiFake, status: int
    ) -> None:
        first.fails(status, times=9, retry_after="0")
        async with routing(valkey, {"first": first.url, "second": second.url}) as under_test:
            reply = await under_test.ask(question())
        assert (reply.provider, len(second.requests)) == ("second", 1)
        assert len(first.requests) == (1 if status == 401 else 3)

    async def test_it_is_asked_at_once_when_the_first_wants_to_be_left_alone(
        self, valkey: str, first: OpenAiFake, second: OpenAiFake
    ) -> None:
        first.fails(429, retry_after="60")
        async with routing(valkey, {"first": first.url, "second": second.url}) as under_test:
            assert (await under_test.ask(question())).provider == "second"
        assert len(first.requests) == 1

    async def test_where_there_is_another_nobody_waits_long(
        self, valkey: str, first: OpenAiFake, second: OpenAiFake
    ) -> None:
        """Half a second is too long here while there is somebody else, and not when there is nobody."""
        first.fails(429, retry_after="0.3")
        async with routing(valkey, {"first": first.url, "second": second.url}) as under_test:
            assert (await under_test.ask(question())).provider == "second"
        first.fails(429, retry_after="0.3")
        async with routing(valkey, {"first": first.url}) as under_test:
            assert (await under_test.ask(question())).provider == "first"

    async def test_nonsense_is_no_reason_to_ask_the_same_again(
        self, valkey: str, first: OpenAiFake, second: OpenAiFake
    ) -> None:
        first.garbles()
        async with routing(valkey, {"first": first.url, "second": second.url}) as under_test:
            assert (await under_test.ask(question())).provider == "second"
        assert len(first.requests) == 1

    async def test_a_refusal_is_everybodys(self, valkey: str, first: OpenAiFake, second: OpenAiFake) -> None:
        first.fails(404)
        async with routing(valkey, {"first": first.url, "second": second.url}) as under_test:
            with pytest.raises(ModelRefused):
                await under_test.ask(question())
        assert (len(first.requests), len(second.requests)) == (1, 0)

    async def test_what_is_too_long_goes_to_one_that_reads_more(
        self, valkey: str, first: OpenAiFake, second: OpenAiFake
    ) -> None:
        first.fails(400, times=2, code="context_length_exceeded")
        models = [
            entry("small", "first", context=1_000),
            entry("smaller", "second", context=500),
            entry("large", "second", context=2_000),
        ]
        accounts = {"first": first.url, "second": second.url}
        async with routing(valkey, accounts, models) as under_test:
            assert (await under_test.ask(question())).model == "large"
            under_test.chain.entries = under_test.chain.entries[:2]
            with pytest.raises(PromptTooLong):
                await under_test.ask(question())

    async def test_what_a_policy_forbids_is_asked_nobody_else(
        self, valkey: str, first: OpenAiFake, second: OpenAiFake
    ) -> None:
        first.fails(400, code="content_filter")
        async with routing(valkey, {"first": first.url, "second": second.url}) as under_test:
            with pytest.raises(ModelFiltered):
                await under_test.ask(question())
        assert second.requests == []

    async def test_what_our_own_policy_forbids_is_never_asked(
        self, valkey: str, first: OpenAiFake, second: OpenAiFake
    ) -> None:
        def forbids(forbidden: str, *names: str) -> Problem | None:
            return ForbiddenByPolicy("not-there", "it") if forbidden in names else None

        async with routing(valkey, {"first": first.url, "second": second.url}) as under_test:
            ask = partial(under_test.router.candidates, under_test.organization, question())
            for name in ("second", "second-at-provider"):
                (left,) = await ask(forbids=partial(forbids, name))
                assert (left.entry.name, left.has_next) == ("first", False)
            with pytest.raises(ForbiddenByPolicy):
                await ask(forbids=partial(forbids, "any"))  # what it is asked by
            under_test.chain.entries = under_test.chain.entries[:1]
            with pytest.raises(ForbiddenByPolicy):
                await ask(forbids=partial(forbids, "first"))

    async def test_the_last_ones_reason_is_told(self, valkey: str, first: OpenAiFake, second: OpenAiFake) -> None:
        first.fails(500, times=9)
        second.fails(401)
        async with routing(valkey, {"first": first.url, "second": second.url}) as under_test:
            with pytest.raises(ModelRefused, match=r"second .*key"):
                await under_test.ask(question())


class TestTime:
    async def test_all_candidates_share_it(self, valkey: str, first: OpenAiFake, second: OpenAiFake) -> None:
        first.hangs()
        second.hangs()
        async with routing(valkey, {"first": first.url, "second": second.url}) as under_test:
            asking = asyncio.create_task(under_test.ask(question(timeout_seconds=60)))
            await until(lambda: len(first.requests) == 1)
            pass_time(61)
            with pytest.raises(ModelTimeout):
                await asking
            await until(lambda: first.abandoned == 1)
        assert second.requests == []

    async def test_a_stream_that_does_not_begin_is_given_up(
        self, valkey: str, first: OpenAiFake, second: OpenAiFake
    ) -> None:
        first.hangs()
        call = question(timeout_seconds=600)
        accounts = {"first": first.url, "second": second.url}
        async with routing(valkey, accounts, first_token_seconds=60) as under_test:
            course = await under_test.router.course(under_test.organization, call)
            sending = asyncio.create_task(under_test.router.send(await course.next(), call, Words()))
            await until(lambda: len(first.requests) == 1)
            pass_time(61)
            with pytest.raises(Exception, match="did not begin"):
                await sending
            await until(lambda: first.abandoned == 1)

    async def test_a_stream_that_has_begun_may_take_longer(self, valkey: str, first: OpenAiFake) -> None:
        first.words_per_second = 2
        first.answers("one two three four five six seven eight")
        sink, call = Words(), question(timeout_seconds=3_600)
        async with routing(valkey, {"first": first.url}, first_token_seconds=60) as under_test:
            (candidate,) = await under_test.router.candidates(under_test.organization, call)
            sending = asyncio.create_task(under_test.router.send(candidate, call, sink))
            await until(lambda: bool(sink.said))
            first.words_per_second = 0.02
            pass_time(1_000)
            reply = await sending
        assert reply.text == sink.text == "one two three four five six seven eight"

    async def test_who_leaves_closes_the_connection(self, valkey: str, first: OpenAiFake) -> None:
        first.hangs()
        async with routing(valkey, {"first": first.url}) as under_test:
            asking = asyncio.create_task(under_test.ask(question()))
            await until(lambda: len(first.requests) == 1)
            asking.cancel()
            await until(lambda: first.abandoned == 1)


async def test_what_was_heard_of_an_attempt_that_failed_is_void(valkey: str, first: OpenAiFake) -> None:
    first.answers("never to be whole", "whole")
    first.ends_early()
    sink = Words()
    async with routing(valkey, {"first": first.url}) as under_test:
        (candidate,) = await under_test.router.candidates(under_test.organization, question())
        with pytest.raises(Exception, match="broke off"):
            await under_test.router.send(candidate, question(), sink)
        assert sink.said == []


class TestNeeds:
    async def test_only_those_that_can_are_asked(self, valkey: str, first: OpenAiFake, second: OpenAiFake) -> None:
        tool = {"name": "look", "description": "Look.", "parameters": {"type": "object"}}
        image = {"media_type": "image/png", "data": "aGk="}
        seeing = question(messages=({"role": "user", "content": "?", "images": [image]},))
        models = [
            entry("first", can=frozenset({"streaming", "images"})),
            entry("second", can=frozenset({"tools"})),
        ]
        async with routing(valkey, {"first": first.url, "second": second.url}, models) as under_test:
            assert (await under_test.ask(question(tools=(tool,)))).model == "second"
            assert (await under_test.ask(seeing)).model == "first"
            both = seeing.model_copy(update={"tools": question(tools=(tool,)).tools})
            with pytest.raises(ModelUnsuitable, match=r"first, second.*images, tools"):
                await under_test.ask(both)

    async def test_who_can_be_forced_to_a_schema_is_asked_first_and_others_if_there_is_nobody(
        self, valkey: str, first: OpenAiFake, second: OpenAiFake
    ) -> None:
        models = [entry("first", can=frozenset()), entry("second", can=frozenset({"json_schema"}))]
        wish = question(schema_={"type": "object"})
        async with routing(valkey, {"first": first.url, "second": second.url}, models) as under_test:
            assert (await under_test.ask(wish)).model == "second"
            under_test.chain.entries = under_test.chain.entries[:1]
            assert (await under_test.ask(wish)).model == "first"

    async def test_what_is_certainly_too_long_is_not_even_sent(
        self, valkey: str, first: OpenAiFake, second: OpenAiFake
    ) -> None:
        models = [entry("first", context=100), entry("second", context=10_000)]
        async with routing(valkey, {"first": first.url, "second": second.url}, models) as under_test:
            assert (await under_test.ask(question("word " * 500))).model == "second"
            with pytest.raises(ModelUnsuitable, match="10000 tokens"):
                await under_test.ask(question("word " * 50_000))

    async def test_nobody_to_ask(self, valkey: str, first: OpenAiFake) -> None:
        async with routing(valkey, {"first": first.url}, [entry("gpt", "gone")]) as under_test:
            with pytest.raises(ModelWithoutAccount, match="POST /v1/providers"):
                await under_test.ask(question())
            with pytest.raises(UnknownModel):
                await under_test.ask(question(model="unknown"))


@pytest.mark.parametrize("problem", [ModelRateLimited, ModelUnavailable, ModelTimeout])
def test_what_passes_may_be_tried_again(problem: type[Problem]) -> None:
    assert problem.retryable
