"""Asking a model: patient with what passes, final with what does not, and counting everything that is paid for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import aiohttp
import pytest
from crewmesh_agent_crew.models.client import ModelClient
from crewmesh_agent_crew.models.errors import ModelRefused, ModelTimeout, ModelUnavailable
from crewmesh_agent_crew.models.schemas import ChatMessage, Usage
from crewmesh_agent_crew.settings import ModelSettings
from crewmesh_kit.errors import Problem
from crewmesh_testkit.openai_fake import OpenAiFake
from prometheus_client import REGISTRY

from .harness import until

QUESTION = [ChatMessage("user", "What is a mesh?")]
KEY = "sk-canary-42"


@pytest.fixture
async def session() -> AsyncGenerator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
async def model() -> AsyncGenerator[OpenAiFake]:
    async with OpenAiFake(api_key=KEY) as server:
        yield server


@pytest.fixture
def client(session: aiohttp.ClientSession, model: OpenAiFake) -> ModelClient:
    return client_of(session, model.url)


def client_of(
    session: aiohttp.ClientSession, url: str, *, key: str = KEY, seconds: float = 10, attempts: int = 3
) -> ModelClient:
    settings = ModelSettings(
        url=url, name="fake", attempts=attempts, backoff_seconds=0.01, timeout_seconds=seconds, max_tokens=7
    )
    return ModelClient(session, settings, api_key=key)


async def test_an_answer_and_what_it_cost(client: ModelClient, model: OpenAiFake) -> None:
    model.answers("A mesh is a net.")
    usage = Usage()
    counted = REGISTRY.get_sample_value("crewmesh_model_tokens_total", {"model": "fake", "kind": "prompt"}) or 0
    assert await client.ask(QUESTION, usage) == "A mesh is a net."
    assert usage == Usage(requests=1, prompt_tokens=4, completion_tokens=5)
    assert REGISTRY.get_sample_value("crewmesh_model_tokens_total", {"model": "fake", "kind": "prompt"}) == counted + 4
    (asked,) = model.requests
    assert (asked.model, asked.max_tokens, asked.temperature) == ("fake", 7, 0.2)
    assert asked.prompt == "What is a mesh?"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
async def test_busy_and_failing_servers_are_asked_again(client: ModelClient, model: OpenAiFake, status: int) -> None:
    model.fails(status, times=2, retry_after="0")
    assert await client.ask(QUESTION, Usage()) == "ok"
    assert len(model.requests) == 3


async def test_patience_ends(client: ModelClient, model: OpenAiFake) -> None:
    model.fails(503, times=9)
    with pytest.raises(ModelUnavailable, match="failed 3 times, last because its server answered 503") as caught:
        await client.ask(QUESTION, Usage())
    assert caught.value.retryable
    assert len(model.requests) == 3


async def test_an_empty_answer_is_paid_for_and_asked_for_again(client: ModelClient, model: OpenAiFake) -> None:
    model.answers("", " \n", "now")
    usage = Usage()
    assert await client.ask(QUESTION, usage) == "now"
    assert usage.requests == 3


async def test_a_server_that_does_not_count_tokens_counts_as_none(client: ModelClient, model: OpenAiFake) -> None:
    model.counts_tokens = False
    usage = Usage()
    await client.ask(QUESTION, usage)
    assert usage == Usage(requests=1)


async def test_a_wrong_key_is_final_and_stays_secret(session: aiohttp.ClientSession, model: OpenAiFake) -> None:
    with pytest.raises(ModelRefused, match="does not accept the key") as caught:
        await client_of(session, model.url, key="sk-wrong").ask(QUESTION, Usage())
    assert not caught.value.retryable
    assert "sk-wrong" not in str(caught.value.document())


@pytest.mark.parametrize("status", [400, 404, 422])
async def test_other_refusals_are_final(client: ModelClient, model: OpenAiFake, status: int) -> None:
    model.fails(status)
    with pytest.raises(ModelRefused, match=f"answered {status}"):
        await client.ask(QUESTION, Usage())
    assert len(model.requests) == 1


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"choices": []}', b'{"choices": [{"message": 5}]}'])
async def test_nonsense_is_final(client: ModelClient, model: OpenAiFake, body: bytes) -> None:
    model.fails(200, body=body)
    with pytest.raises(ModelRefused, match="no chat completion"):
        await client.ask(QUESTION, Usage())


async def test_an_endless_answer_is_cut_off(client: ModelClient, model: OpenAiFake) -> None:
    model.fails(200, body=b"x" * 3_000_000)
    with pytest.raises(ModelRefused, match="larger than"):
        await client.ask(QUESTION, Usage())


async def test_a_redirect_is_not_followed_with_the_key(client: ModelClient, model: OpenAiFake) -> None:
    model.fails(302)
    with pytest.raises(ModelRefused, match="answered 302"):
        await client.ask(QUESTION, Usage())


async def test_a_slow_server_is_given_up_in_time(session: aiohttp.ClientSession, model: OpenAiFake) -> None:
    model.delay = 30
    with pytest.raises(ModelTimeout):
        await client_of(session, model.url, seconds=0.2).ask(QUESTION, Usage())


async def test_a_server_that_is_away(session: aiohttp.ClientSession) -> None:
    async with OpenAiFake() as gone:
        url = gone.url
    with pytest.raises(ModelUnavailable, match="cannot be reached") as caught:
        await client_of(session, url).ask(QUESTION, Usage())
    assert isinstance(caught.value, Problem)


async def test_a_question_that_nobody_waits_for_is_abandoned(client: ModelClient, model: OpenAiFake) -> None:
    model.delay = 30
    asking = asyncio.create_task(client.ask(QUESTION, Usage()))
    await until(lambda: bool(model.requests))
    asking.cancel()
    await until(lambda: model.abandoned == 1)
