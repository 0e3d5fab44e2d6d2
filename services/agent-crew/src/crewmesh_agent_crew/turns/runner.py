"""Turns: an agent is given its task and asked until it has an answer that can be used.

All turns of a process share its event loop; how many there are at a time is up to whoever starts them. CrewAI takes
seconds to import: that happens beside the start, and a turn that comes early waits for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from crewmesh_contracts.base import JsonValue
from crewmesh_kit.app import Resources
from crewmesh_kit.errors import Problem
from crewmesh_kit.logs import get_logger
from crewmesh_kit.telemetry import span

from crewmesh_agent_crew.crew_runs.stage import Said, Turn
from crewmesh_agent_crew.models.answers import Following, UnusableError
from crewmesh_agent_crew.models.calls import Message
from crewmesh_agent_crew.models.json_schemas import JsonSchemas
from crewmesh_agent_crew.turns.crewai_environment import load_crewai
from crewmesh_agent_crew.turns.desk import Desk, Ports, TurnOverError
from crewmesh_agent_crew.turns.errors import TurnAnswerUnusable, TurnFailed
from crewmesh_agent_crew.turns.instructions import instruction_of
from crewmesh_agent_crew.turns.metrics import TURN_SECONDS, TURNS, TURNS_RUNNING

if TYPE_CHECKING:
    from crewmesh_agent_crew.turns.crewai_turn import Play

__all__ = ["Ports", "TurnRunner", "open_turns", "why_not_ready"]

log = get_logger(__name__)


class TurnRunner:
    def __init__(self, schemas: JsonSchemas) -> None:
        self._schemas = schemas
        self._crewai: asyncio.Future[Play] = asyncio.ensure_future(asyncio.to_thread(load_crewai))

    def why_not_ready(self) -> str | None:
        if not self._crewai.done():
            return "CrewAI is still being loaded"
        failure = self._crewai.exception()
        return None if failure is None else f"CrewAI could not be loaded: {failure}"

    async def run(self, turn: Turn, ports: Ports) -> Said:
        """What the agent said in the end. Whatever the ports raise comes out as it was; cancelling ends it."""
        play = await asyncio.shield(self._crewai)
        started = time.monotonic()
        outcome = "failed"
        TURNS_RUNNING.inc()
        try:
            with span(f"agent {turn.agent.name}"):
                # A task of its own, for CrewAI leaves notes in the context: what it did before, and for whom.
                said = await asyncio.create_task(self._said(turn, ports, play))
            outcome = "completed"
            return said
        except Problem as problem:
            outcome = problem.slug
            raise
        finally:
            TURNS_RUNNING.dec()
            TURNS.labels(outcome).inc()
            TURN_SECONDS.observe(time.monotonic() - started)

    async def _said(self, turn: Turn, ports: Ports, play: Play) -> Said:
        schema = turn.output_schema or turn.agent.output_schema
        wanted = None if schema is None else Following(schema, self._schemas)
        desk = Desk(turn, ports)
        try:
            form = "" if wanted is None else wanted.instruction
            await play(turn.agent, instruction_of(turn, ports.toolbox, form), desk)
            if wanted is not None and not turn.or_text:
                await _repaired(desk, wanted, turn)
        except TurnOverError as over:
            raise desk.failure or over from None
        except Problem:
            raise
        except Exception as error:
            log.error("turn failed", agent=turn.agent.name, exc_info=error)
            raise TurnFailed(
                f"The agent {turn.agent.name} ended without an answer ({type(error).__name__}); try again."
            ) from error
        text = await ports.toolbox.said(desk.reply.text)
        data = None if wanted is None else await _read(text, wanted, turn)
        return Said(agent=turn.agent.name, task=turn.task, text=text, data=data)


async def _repaired(desk: Desk, wanted: Following, turn: Turn) -> None:
    """An answer that cannot be used goes back to the model once, with the reason."""
    try:
        await wanted.read(desk.reply.text)
    except UnusableError as reason:
        complaint = f"This answer cannot be used: {reason}. {wanted.instruction}"
        answer = Message(role="assistant", content=desk.reply.text)
        await desk.ask_at_last([*desk.asked, answer, Message(role="user", content=complaint)])
        await _read(desk.reply.text, wanted, turn)


async def _read(text: str, wanted: Following, turn: Turn) -> JsonValue:
    try:
        return await wanted.read(text)
    except UnusableError as reason:
        if turn.or_text:
            return None
        raise TurnAnswerUnusable(turn.agent.name, str(reason), text) from reason


@asynccontextmanager
async def open_turns(resources: Resources) -> AsyncGenerator[TurnRunner]:
    yield TurnRunner(resources.get(JsonSchemas))


async def why_not_ready(resources: Resources) -> str | None:
    return resources.get(TurnRunner).why_not_ready()
