"""The door to model servers: the protocol of each kind of account, over two pools of connections."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import aiohttp
from crewmesh_kit.app import Resources

from crewmesh_agent_crew.models.calls import ModelCall, ModelReply, TextSink
from crewmesh_agent_crew.providers.anthropic import Anthropic
from crewmesh_agent_crew.providers.bedrock import Bedrock
from crewmesh_agent_crew.providers.gemini import Gemini
from crewmesh_agent_crew.providers.http import Http
from crewmesh_agent_crew.providers.ollama import Ollama
from crewmesh_agent_crew.providers.openai_chat import OpenAiChat
from crewmesh_agent_crew.providers.openai_responses import OpenAiResponses
from crewmesh_agent_crew.providers.protocol import Account, ModelProtocol, ProviderKind

_CONNECT_SECONDS = 10.0
_MOST_CONNECTIONS = 512


class Adapters:
    def __init__(self, http: Http) -> None:
        chat = OpenAiChat(http)
        self._protocols: Mapping[ProviderKind, ModelProtocol] = {
            "openai": chat,
            "openai-responses": OpenAiResponses(http),
            "openai-compatible": chat,
            "anthropic": Anthropic(http),
            "google": Gemini(http),
            "groq": chat,
            "mistral": chat,
            "azure": chat,
            "bedrock": Bedrock(http),
            "openrouter": chat,
            "ollama": Ollama(http),
        }

    async def send(self, account: Account, model: str, call: ModelCall, sink: TextSink | None) -> ModelReply:
        """One attempt, in the account's protocol. ``model`` is the provider's own name for it."""
        return await self._protocols[account.kind].send(account, model, call, sink)

    async def models(self, account: Account) -> list[str]:
        """What the account may ask, by the provider's own names. Raises ProviderError."""
        return await self._protocols[account.kind].models(account)


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=_MOST_CONNECTIONS),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        headers={"Accept-Encoding": "identity", "User-Agent": "crewmesh"},
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
    )


@asynccontextmanager
async def open_adapters(_: Resources) -> AsyncGenerator[Adapters]:
    async with _session() as trusted, _session() as guarded:
        yield Adapters(Http(trusted, guarded))
