"""Every protocol with its fake, as the tests of providers go through them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

from crewmesh_agent_crew.models.calls import Message, ModelCall, ModelReply, TextSink
from crewmesh_agent_crew.providers.adapters import Adapters
from crewmesh_agent_crew.providers.protocol import Account, ProviderError, ProviderKind
from crewmesh_contracts.base import JsonObject
from crewmesh_testkit.anthropic_fake import AnthropicFake
from crewmesh_testkit.bedrock_fake import BedrockFake
from crewmesh_testkit.gemini_fake import GeminiFake
from crewmesh_testkit.model_fake import ModelFake
from crewmesh_testkit.ollama_fake import OllamaFake
from crewmesh_testkit.openai_fake import ChatRequest, OpenAiFake
from crewmesh_testkit.openai_responses_fake import OpenAiResponsesFake
from crewmesh_testkit.requests_read import Conversation

KEY = "sk-canary-0123456789"

AnyFake: TypeAlias = ModelFake[ChatRequest] | ModelFake[Conversation]
FAKES: dict[ProviderKind, Callable[[], AnyFake]] = {
    "openai": lambda: OpenAiFake(api_key=KEY),
    "openai-responses": lambda: OpenAiResponsesFake(api_key=KEY),
    "openai-compatible": lambda: OpenAiFake(api_key=KEY),
    "anthropic": lambda: AnthropicFake(api_key=KEY),
    "google": lambda: GeminiFake(api_key=KEY),
    "mistral": lambda: OpenAiFake(
        api_key=KEY, refuses=frozenset({"stream_options"}), counts_unasked=True, call_ids=r"[a-zA-Z0-9]{9}"
    ),
    "bedrock": lambda: BedrockFake(api_key=KEY),
    "ollama": lambda: OllamaFake(api_key=KEY),
}
OPTIONS: dict[ProviderKind, JsonObject] = {"bedrock": {"region": "eu-central-1", "access_key_id": "AKIAEXAMPLE"}}
QUESTION = ModelCall(messages=(Message(role="user", content="What is a mesh?"),))


@dataclass
class Words:
    """A sink that keeps what it is given."""

    said: list[str] = field(default_factory=list[str])

    def add(self, text: str) -> None:
        self.said.append(text)

    def restart(self) -> None:
        self.said.clear()

    @property
    def text(self) -> str:
        return "".join(self.said)


@dataclass(frozen=True)
class Provider:
    """One fake and an account at it; ``streamed``: whether it is asked with a sink."""

    adapters: Adapters
    fake: AnyFake
    account: Account
    streamed: bool

    def sink(self) -> Words | None:
        return Words() if self.streamed else None

    async def ask(self, call: ModelCall = QUESTION, sink: TextSink | None = None) -> ModelReply:
        async with asyncio.timeout(60):
            return await self.adapters.send(self.account, "fake", call, sink or self.sink())

    async def failure(self, call: ModelCall = QUESTION) -> ProviderError:
        try:
            reply = await self.ask(call)
        except ProviderError as error:
            return error
        raise AssertionError(f"it answered: {reply}")


@asynccontextmanager
async def provider(kind: ProviderKind, adapters: Adapters, *, streamed: bool) -> AsyncGenerator[Provider]:
    async with FAKES[kind]() as fake:
        account = Account(name="acme", kind=kind, base_url=fake.url, key=KEY, options=OPTIONS.get(kind, {}))
        yield Provider(adapters, fake, account, streamed)
