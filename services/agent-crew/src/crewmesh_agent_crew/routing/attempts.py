"""One request to a model server, with all that stands around it.

In this order: whether the server is left alone, the account's own limits, a place, the request within its time. How it
went is told to the breaker, the limits, the trace and the figures.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol

from crewmesh_agent_crew.catalogue.costs import likely_input_tokens
from crewmesh_agent_crew.models.calls import ModelCall, ModelReply, TextSink
from crewmesh_agent_crew.pool.service import Pool
from crewmesh_agent_crew.providers.protocol import Account, ProviderError
from crewmesh_agent_crew.routing.breaker import Breakers
from crewmesh_agent_crew.routing.candidates import Candidate
from crewmesh_agent_crew.routing.hearing import Hearing
from crewmesh_agent_crew.routing.limits import AccountLimits
from crewmesh_agent_crew.routing.telemetry import Watched, watched
from crewmesh_agent_crew.spending.reaching import asking_provider


class Servers(Protocol):
    """All model servers, whatever they speak."""

    async def send(self, account: Account, model: str, call: ModelCall, sink: TextSink | None) -> ModelReply: ...


class Attempts:
    """``first_token_seconds``: how long a streamed answer may take to begin. ``with_content``: of traces."""

    def __init__(
        self,
        servers: Servers,
        pool: Pool,
        breakers: Breakers,
        limits: AccountLimits,
        *,
        first_token_seconds: float,
        with_content: bool = False,
    ) -> None:
        self._servers = servers
        self._pool = pool
        self._breakers = breakers
        self._limits = limits
        self._first_token_seconds = first_token_seconds
        self._with_content = with_content

    async def make(
        self, candidate: Candidate, call: ModelCall, hearing: Hearing | None, *, deadline: float
    ) -> ModelReply:
        """The answer, named as the catalogue names it, or ProviderError."""
        likely = likely_input_tokens(call) + (call.max_tokens or 0)
        async with self._health_noted(candidate):
            await self._limits.admit(candidate.account, likely)
            async with self._place(candidate, deadline):
                reply = await self._watched(candidate, call, hearing, deadline)
        await self._limits.correct(candidate.account, reply.tokens.input + reply.tokens.output - likely)
        return reply

    async def _watched(
        self, candidate: Candidate, call: ModelCall, hearing: Hearing | None, deadline: float
    ) -> ModelReply:
        with watched(candidate, call, with_content=self._with_content) as attempt:
            reply = await self._reply(candidate, call, hearing, deadline, attempt)
        # Out here, so that the trace does not keep its detail.
        if isinstance(reply, ProviderError):
            raise reply
        return reply

    async def _reply(
        self, candidate: Candidate, call: ModelCall, hearing: Hearing | None, deadline: float, attempt: Watched
    ) -> ModelReply | ProviderError:
        try:
            reply = await self._in_time(candidate, call, hearing, deadline)
        except ProviderError as error:
            attempt.failed(error)
            return error
        reply = reply.model_copy(update={"model": candidate.entry.name, "provider": candidate.account.name})
        attempt.answered(reply, hearing)
        return reply

    async def _in_time(
        self, candidate: Candidate, call: ModelCall, hearing: Hearing | None, deadline: float
    ) -> ModelReply:
        try:
            async with asyncio.timeout_at(deadline), AsyncExitStack() as stack:
                if hearing is not None:
                    await stack.enter_async_context(hearing.begins_within(self._first_token_seconds))
                with asking_provider():
                    return await self._servers.send(candidate.account, candidate.entry.model, call, hearing)
        except TimeoutError:
            raise ProviderError("timeout", "its time was up before it had answered", tokens_paid=True) from None

    @asynccontextmanager
    async def _place(self, candidate: Candidate, deadline: float) -> AsyncGenerator[None]:
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout_at(deadline):
                    place = self._pool.place(candidate.organization, candidate.account)
                    await stack.enter_async_context(place)
            except TimeoutError:
                raise ProviderError("limited", "its time was up before there was a place for the call") from None
            yield

    @asynccontextmanager
    async def _health_noted(self, candidate: Candidate) -> AsyncGenerator[None]:
        self._breakers.check(candidate)
        try:
            yield
        except ProviderError as error:
            self._breakers.failed(candidate, error.kind)
            raise
        except BaseException:
            self._breakers.left_undecided(candidate)
            raise
        self._breakers.succeeded(candidate)
