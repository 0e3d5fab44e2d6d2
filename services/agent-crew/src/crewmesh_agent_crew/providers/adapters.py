"""The door to model servers: the protocol of each kind of account, over two pools of connections."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager

import aiohttp
from crewmesh_kit.app import Resources
from crewmesh_kit.outbound.connector import SystemLookup, guarded_connector
from crewmesh_kit.speakable import MASK

from crewmesh_agent_crew.models.calls import ModelCall, ModelReply, TextSink
from crewmesh_agent_crew.providers.addresses import Gate
from crewmesh_agent_crew.providers.anthropic import Anthropic
from crewmesh_agent_crew.providers.bedrock import Bedrock
from crewmesh_agent_crew.providers.gemini import Gemini
from crewmesh_agent_crew.providers.http import Http
from crewmesh_agent_crew.providers.ollama import Ollama
from crewmesh_agent_crew.providers.openai_chat import OpenAiChat
from crewmesh_agent_crew.providers.openai_responses import OpenAiResponses
from crewmesh_agent_crew.providers.protocol import Account, ModelProtocol, ProviderError, ProviderKind
from crewmesh_agent_crew.settings import Settings

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
        with _without_key(account):
            return await self._protocols[account.kind].send(account, model, call, sink)

    async def models(self, account: Account) -> list[str]:
        """What the account may ask, by the provider's own names. Raises ProviderError."""
        with _without_key(account):
            return await self._protocols[account.kind].models(account)


@contextmanager
def _without_key(account: Account) -> Generator[None]:
    """Some servers quote the key they refuse."""
    try:
        yield
    except ProviderError as error:
        if account.key:
            error.detail = error.detail.replace(account.key, MASK)
            error.args = (error.detail,)
        raise


def _session(connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        headers={"Accept-Encoding": "identity", "User-Agent": "crewmesh"},
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
    )


@asynccontextmanager
async def open_adapters(resources: Resources) -> AsyncGenerator[Adapters]:
    settings = resources.get(Settings)
    gate = Gate(private=settings.providers.private_addresses, mesh_ports=settings.refused_ports)
    lookup = SystemLookup()
    anywhere = aiohttp.TCPConnector(limit=_MOST_CONNECTIONS)
    guarded = guarded_connector(gate, lookup, keep=True, most=_MOST_CONNECTIONS, most_per_host=_MOST_CONNECTIONS)
    try:
        async with _session(anywhere) as trusted, _session(guarded) as careful:
            resources.add(gate)
            yield Adapters(Http(trusted, careful, gate))
    finally:
        lookup.close()
