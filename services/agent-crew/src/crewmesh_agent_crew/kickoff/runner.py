"""Runs crews in threads of their own: a bounded number at a time, each for a bounded time, all stopped at shutdown."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import AsyncGenerator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from crewmesh_contracts.invocations import CrewMessage
from crewmesh_kit.app import Resources
from crewmesh_kit.errors import Problem
from crewmesh_kit.logs import get_logger
from crewmesh_kit.telemetry import span

from crewmesh_agent_crew.crews.models import CrewDefinition
from crewmesh_agent_crew.kickoff.capacity import Capacity
from crewmesh_agent_crew.kickoff.conversation import Conversation
from crewmesh_agent_crew.kickoff.crewai_environment import load_crewai
from crewmesh_agent_crew.kickoff.errors import CrewFailed, KickoffStopped, KickoffTimeout
from crewmesh_agent_crew.kickoff.metrics import KICKOFF_SECONDS
from crewmesh_agent_crew.models.client import ModelClient
from crewmesh_agent_crew.models.schemas import NO_WISHES, Usage, Wishes
from crewmesh_agent_crew.settings import KickoffSettings, Settings

if TYPE_CHECKING:
    from crewmesh_agent_crew.kickoff.crewai_crew import CrewAiCrew

_STOP_SECONDS = 10.0

log = get_logger(__name__)


class CrewRunner:
    def __init__(self, client: ModelClient, settings: KickoffSettings, threads: ThreadPoolExecutor) -> None:
        self.capacity = Capacity(places=settings.most_running, most_waiting=settings.most_waiting)
        self._client = client
        self._settings = settings
        self._threads = threads
        self._conversations: set[Conversation] = set()
        # CrewAI takes seconds to import: it is loaded beside the start, and a kickoff that comes early waits for it.
        self._crewai: asyncio.Future[type[CrewAiCrew]] = asyncio.get_running_loop().run_in_executor(
            threads, load_crewai
        )

    @property
    def model(self) -> str:
        return self._client.model

    def why_not_ready(self) -> str | None:
        if not self._crewai.done():
            return "CrewAI is still being loaded"
        failure = self._crewai.exception()
        return None if failure is None else f"CrewAI could not be loaded: {failure}"

    async def run(
        self, crew: CrewDefinition, values: Mapping[str, str], usage: Usage, wishes: Wishes = NO_WISHES
    ) -> tuple[CrewMessage, ...]:
        """What each task's agent said, in order. ``usage`` grows as the crew works, whatever comes of it."""
        crewai_crew = await asyncio.shield(self._crewai)
        conversation = Conversation(self._client, usage, wishes)
        self._conversations.add(conversation)
        started = time.monotonic()
        try:
            with span(f"crew {crew.name}"):
                return await self._finish(crewai_crew, crew, values, conversation)
        finally:
            self._conversations.discard(conversation)
            KICKOFF_SECONDS.observe(time.monotonic() - started)

    async def _finish(
        self,
        crewai_crew: type[CrewAiCrew],
        crew: CrewDefinition,
        values: Mapping[str, str],
        conversation: Conversation,
    ) -> tuple[CrewMessage, ...]:
        def work() -> tuple[CrewMessage, ...]:
            return crewai_crew(crew, values, conversation).work()

        working = asyncio.get_running_loop().run_in_executor(self._threads, contextvars.copy_context().run, work)
        try:
            done, _ = await asyncio.wait({working}, timeout=self._settings.timeout_seconds)
        finally:
            # Also when this task is cancelled: the place is given on only after the thread is free.
            conversation.close()
            working.add_done_callback(_looked_at)
            await asyncio.wait({working}, timeout=_STOP_SECONDS)
        if not done:
            raise KickoffTimeout(
                f"The crew {crew.name} did not finish within {self._settings.timeout_seconds:g} s; "
                "try again, or give it less to do."
            )
        return self._outcome(crew, working, conversation)

    def _outcome(
        self, crew: CrewDefinition, working: asyncio.Future[tuple[CrewMessage, ...]], conversation: Conversation
    ) -> tuple[CrewMessage, ...]:
        error = working.exception()
        if error is None:
            return working.result()
        if isinstance(conversation.failure, Problem):
            raise conversation.failure
        if conversation.stopped:
            raise KickoffStopped("The service is stopping; try again.", headers={"Retry-After": "5"})
        log.error("crew failed", crew=crew.name, exc_info=conversation.failure or error)
        raise CrewFailed(f"The crew {crew.name} ended without a result ({type(error).__name__}); try again.")

    def stop(self) -> None:
        for conversation in self._conversations:
            conversation.stop()


def _looked_at(working: asyncio.Future[tuple[CrewMessage, ...]]) -> None:
    """A crew that was given up ends with an error that nobody waits for."""
    if not working.cancelled():
        working.exception()


@asynccontextmanager
async def open_runner(resources: Resources) -> AsyncGenerator[CrewRunner]:
    settings = resources.get(Settings).kickoff
    threads = ThreadPoolExecutor(settings.most_running, thread_name_prefix="crew")
    runner = CrewRunner(resources.get(ModelClient), settings, threads)
    try:
        yield runner
    finally:
        runner.stop()
        threads.shutdown(wait=False, cancel_futures=True)


async def why_not_ready(resources: Resources) -> str | None:
    return resources.get(CrewRunner).why_not_ready()
