"""Reminding an agent before its turn, and remembering what came of it.

A turn is reminded once: what it was told is written down, and a turn that is played again is told the same, whatever
was learnt meanwhile; else its questions to the model would differ, and be paid twice.

Memory helps and is not needed. When the state store or the knowledge service is away the agent does without, which is
logged and counted. What an agent remembers of work in which it read words of strangers is as little trusted as they.
What is deleted is not remembered: neither a chat nor the work of a crew or an agent (see ``forgetting``).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

from crewmesh_contracts.invocations import RECALL, REMEMBER, RecallRequest, Remembered, RememberRequest
from crewmesh_kit.app import Resources
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.db.database import Database
from crewmesh_kit.errors import Problem
from crewmesh_kit.identity import Identity
from crewmesh_kit.logs import get_logger

from crewmesh_agent_crew.agents.models import AgentDefinition
from crewmesh_agent_crew.crew_runs.stage import Recollection, Said, Turn
from crewmesh_agent_crew.feedback.insights import Insights
from crewmesh_agent_crew.memory import repository
from crewmesh_agent_crew.memory.metrics import MEMORY_FAILURES
from crewmesh_agent_crew.memory.models import Note, Place
from crewmesh_agent_crew.memory.notes import Notes

_LONGEST_QUERY, _LONGEST_TASK, _LONGEST_SAID = 4_000, 500, 2_000
_MOST_RECALLED = 4
_PERMISSIONS = frozenset({RECALL.permission, REMEMBER.permission})

T = TypeVar("T")
log = get_logger(__name__)


class Memories:
    def __init__(self, database: Database, sidecar: Sidecar, notes: Notes, insights: Insights) -> None:
        self._database = database
        self._sidecar = sidecar
        self._notes = notes
        self._insights = insights

    async def remind(self, place: Place, turn: Turn) -> Turn:
        """The turn, with what its agent remembers for it."""
        if place.about is None:
            return turn
        organization = place.identity.organization
        async with self._database.tenant(organization) as conn:
            known = await repository.find(conn, place.crew_run, place.path)
            taught = () if known is not None else await self._insights.of(conn, place.about)
            forgetful = not (turn.agent.memory.short or turn.agent.memory.long)
            if known is None and forgetful:
                # That it was told nothing is kept as well: it may be taught something until it is played again.
                known = taught
                await repository.keep(conn, organization, place.crew_run, place.path, known)
        if known is None:
            known = (*taught, *await self._recalled(place, place.about, turn))
            async with self._database.tenant(organization) as conn:
                await repository.keep(conn, organization, place.crew_run, place.path, known)
        return replace(turn, remembered=known) if known else turn

    async def keep(self, place: Place, turn: Turn, said: Said, *, trusted: bool) -> None:
        """After a turn, before it is journalled: a turn that is played again is remembered once."""
        memory, about = turn.agent.memory, place.about
        if about is None:
            return
        organization = place.identity.organization
        if not ((memory.short or memory.long) and await self._counts(organization, place.crew_run)):
            return
        task, text = turn.instruction[:_LONGEST_TASK], said.text[:_LONGEST_SAID]
        if memory.short:
            note = Note(task=task, said=text, trusted=trusted, crew_run=place.crew_run)
            await _if_it_can("notes", self._notes.add(organization, place.own or about, turn.agent.name, note), None)
        if memory.long:
            kept = Remembered(id=_id_of(place), text=f"{task}\n{text}".strip(), trusted=trusted)
            request = RememberRequest(namespace=place.own or about, memories=(kept,))
            await _if_it_can("remember", self._sidecar.call(REMEMBER, request, identity=_acting(place)), None)

    async def _counts(self, organization: str, *crew_runs: str) -> set[str]:
        async with self._database.tenant(organization) as conn:
            return await repository.those_that_count(conn, crew_runs)

    async def _recalled(self, place: Place, about: str, turn: Turn) -> Sequence[Recollection]:
        found: list[Recollection] = []
        agent = turn.agent
        if agent.memory.long and turn.instruction:
            found += await _if_it_can("recall", self._nearest(place, about, turn.instruction), [])
        if agent.memory.short:
            found += await _if_it_can("notes", self._latest(place, about, agent), [])
        return found

    async def _nearest(self, place: Place, about: str, instruction: str) -> list[Recollection]:
        namespaces = (about,) if place.own is None else (about, place.own)
        request = RecallRequest(namespaces=namespaces, query=instruction[:_LONGEST_QUERY], limit=_MOST_RECALLED)
        answer = await self._sidecar.call(RECALL, request, identity=_acting(place))
        return [_recollection(each.text, each.trusted) for each in answer.memories]

    async def _latest(self, place: Place, about: str, agent: AgentDefinition) -> list[Recollection]:
        organization = place.identity.organization
        notes = await self._notes.of(organization, place.own or about, agent.name)
        count = await self._counts(organization, *(note.crew_run for note in notes)) if notes else set[str]()
        return [_recollection(f"{note.task}\n{note.said}", note.trusted) for note in notes if note.crew_run in count]


def _recollection(text: str, trusted: bool) -> Recollection:
    return Recollection(text=text, source="memory" if trusted else "hearsay")


async def _if_it_can(what: str, work: Awaitable[T], otherwise: T) -> T:
    try:
        return await work
    except Problem as problem:
        MEMORY_FAILURES.labels(what).inc()
        log.warning("an agent does without memory", what=what, reason=problem.detail)
        return otherwise


def _acting(place: Place) -> Identity:
    return replace(place.identity, permissions=_PERMISSIONS)


def _id_of(place: Place) -> str:
    return f"{place.crew_run}/{place.path}"[:200]


@asynccontextmanager
async def open_memories(resources: Resources) -> AsyncGenerator[Memories]:
    sidecar = resources.get(Sidecar)
    yield Memories(resources.get(Database), sidecar, Notes(sidecar.state), resources.get(Insights))
