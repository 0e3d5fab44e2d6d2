"""Chats: fifty at the same time, each with an agent that says fifty words a second; how long the words pause.

The baseline are fifty streams of the model server itself, read directly, in the same run of the benchmark.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from itertools import pairwise

import aiohttp
from crewmesh_testkit.mesh import MeshProcess

from tests.load.figures import Figure, at_most, percentile
from tests.load.model_server import running_model_server

CHATS = 50
_WORDS, _WORDS_PER_SECOND = 400, 50.0
_LIMIT_MS = 250.0
_NAME = "bench-talker"
_QUESTION = "Tell me about the sea."
_LONGEST_SECONDS = 120


async def measure_chats(mesh: MeshProcess) -> list[Figure]:
    async with running_model_server(words=_WORDS, words_per_second=_WORDS_PER_SECOND) as model:
        await _prepare(mesh, model)
        await _chat(mesh)  # CrewAI is loaded, and everything has been used once
        direct = await asyncio.gather(*(_arrivals(_direct(model)) for _ in range(CHATS)))
        chats = await asyncio.gather(*(_chat(mesh) for _ in range(CHATS)))
    gaps = [gap for chat in chats for gap in _gaps(chat)]
    plain = [gap for stream in direct for gap in _gaps(stream)]
    first = [chat[0] * 1000 for chat in chats]
    late = percentile(gaps, 0.99)
    print(f"  {len(gaps)} pieces: p50 {percentile(gaps, 0.5):.0f} ms, p99 {late:.0f} ms, longest {max(gaps):.0f} ms")
    return [
        Figure(f"{CHATS} chats, pause p99", late, "ms", baseline=percentile(plain, 0.99), target=at_most(_LIMIT_MS)),
        Figure(f"{CHATS} chats, first word p50", percentile(first, 0.5), "ms"),
    ]


async def _prepare(mesh: MeshProcess, model: str) -> None:
    """An account at the model server, a model of it, and an agent that thinks with it."""
    async with mesh.client() as client:
        account = {"name": _NAME, "kind": "openai-compatible", "base_url": model}
        made = await client.post("/v1/providers", account)
        if made.status != 201:
            raise RuntimeError(f"the account was not made: {made.body}")
        entry = {"provider": _NAME, "model": "fake", "prices": {"input": "0", "output": "0"}}
        body = json.dumps(entry).encode()
        headers = {"content-type": "application/json", "if-match": "*"}
        put = await client.request("PUT", f"/v1/models/{_NAME}", body=body, headers=headers)
        if put.status not in (200, 201):
            raise RuntimeError(f"the model was not made: {put.body}")
        agent = {"name": _NAME, "role": "Sailor", "goal": "Tell stories.", "model": _NAME, "max_tokens": 2 * _WORDS}
        made = await client.post("/v1/agents", agent)
        if made.status != 201:
            raise RuntimeError(f"the agent was not made: {made.body}")


async def _chat(mesh: MeshProcess) -> list[float]:
    """Seconds after which words came, of one answer that was streamed in place of JSON."""
    headers = {"authorization": f"Bearer {mesh.credentials.api_key}"}
    timeout = aiohttp.ClientTimeout(total=_LONGEST_SECONDS)
    async with aiohttp.ClientSession(mesh.credentials.api_url, headers=headers, timeout=timeout) as session:
        async with session.post("/v1/conversations", json={"agent": _NAME, "title": "Bench"}) as made:
            path = f"/v1/conversations/{(await made.json())['id']}/messages"
        events = {"accept": "text/event-stream"}
        async with session.post(path, json={"text": _QUESTION}, headers=events) as answer:
            if answer.status != 200:
                raise RuntimeError(f"a chat was not answered: {await answer.text()}")
            arrivals = await _arrivals(_words(answer))
    return arrivals


async def _words(answer: aiohttp.ClientResponse) -> AsyncIterator[str]:
    """The text of each piece; what came in all must be what the model said."""
    kind, said = "", 0
    async for line in answer.content:
        if line.startswith(b"event: "):
            kind = line[7:].strip().decode()
        elif line.startswith(b"data: ") and kind == "words":
            data = json.loads(line[6:])
            if data["at"] != said:
                raise RuntimeError("words are missing, or came twice")
            said += len(data["text"])
            yield data["text"]
        elif line.startswith(b"data: ") and kind in ("done", "failed", "cancelled"):
            message = json.loads(line[6:])
            if message["status"] != "done" or len(message["text"].split()) != _WORDS:
                raise RuntimeError(f"a chat ended otherwise: {message}")


async def _direct(model: str) -> AsyncIterator[str]:
    asked = {"model": "fake", "stream": True, "messages": [{"role": "user", "content": _QUESTION}]}
    async with aiohttp.ClientSession() as session, session.post(f"{model}/chat/completions", json=asked) as answer:
        async for line in answer.content:
            if line.startswith(b"data: {"):
                choices = json.loads(line[6:])["choices"]
                if choices and choices[0]["delta"].get("content"):
                    yield choices[0]["delta"]["content"]


async def _arrivals(pieces: AsyncIterator[str]) -> list[float]:
    began = time.perf_counter()
    return [time.perf_counter() - began async for _ in pieces]


def _gaps(arrivals: list[float]) -> list[float]:
    return [(after - before) * 1000 for before, after in pairwise(arrivals)]
