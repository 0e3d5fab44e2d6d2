"""One stretch of a run: played from the journal on, until it ends, waits for people, or is broken off.

Broken off by whoever asked it to stop, it is cancelled. Broken off by anything else (the service stops, the database is
away, somebody else took the run) it stays as it is, and the next one goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from crewmesh_kit.db.database import DatabaseUnavailable
from crewmesh_kit.errors import Problem
from crewmesh_kit.logs import get_logger
from crewmesh_kit.signals import Signals

from crewmesh_agent_crew.crew_runs import metrics
from crewmesh_agent_crew.crew_runs.errors import CrewFailed, LeaseLostError, ServiceStopsError
from crewmesh_agent_crew.crew_runs.journal import Commit, Journal, Message
from crewmesh_agent_crew.crew_runs.leases import Lease, Leases
from crewmesh_agent_crew.crew_runs.models import Held, Past, Result, Status
from crewmesh_agent_crew.crew_runs.parts import Parts
from crewmesh_agent_crew.crew_runs.play import Play
from crewmesh_agent_crew.crew_runs.record import Record
from crewmesh_agent_crew.models.usage import Used
from crewmesh_agent_crew.tools.toolbox import NeedsDecisionError, Question

# A run that kills whoever takes it is given up.
_MOST_FRUITLESS = 8
# What waits for a budget looks by itself now and then, should the news of a top-up be lost.
_BUDGET_SECONDS = 60.0
_SETBACK_SECONDS = 2.0
_BREAKING_OFF_SECONDS = 10.0
_NOTHING = Past({}, {}, {})

log = get_logger(__name__)


class Drive:
    def __init__(
        self, held: Held, lease: Lease, leases: Leases, journal: Journal, parts: Parts, signals: Signals
    ) -> None:
        self._held = held
        self._lease = lease
        self._leases = leases
        self._journal = journal
        self._parts = parts
        self._signals = signals

    async def go(self) -> None:
        try:
            past = _NOTHING if self._held.epoch == 1 else await self._journal.past(self._held.id)
            record = Record(self._journal, self._held, self._signals, _used_in(past))
            try:
                await self._through(past, record)
            finally:
                await record.close()
        except LeaseLostError:
            log.info("a crew run is driven elsewhere now")
        except (ServiceStopsError, DatabaseUnavailable) as error:
            seconds = 0.0 if isinstance(error, ServiceStopsError) else _SETBACK_SECONDS
            log.info("a crew run is given back", reason=repr(error))
            self._leases.let_go(self._lease)
            await self._journal.give_back([self._held.id], [self._held.epoch], seconds=seconds)

    async def _through(self, past: Past, record: Record) -> None:
        if self._held.stop_asked:
            await self._end(record, past, Commit(Used(), "cancelled"))
            return
        if self._held.fruitless > _MOST_FRUITLESS:
            problem = CrewFailed(f"Whoever drove this run {_MOST_FRUITLESS} times did not survive it; it is given up.")
            await self._end(record, past, _failed(problem))
            return
        record.say(self._status("working"))
        play = Play(self._held, past, self._parts, record)
        commit = await self._played(play)
        if commit is not None:
            await self._end(record, past, commit, tuple(play.questions.values()))

    async def _played(self, play: Play) -> Commit | None:
        """What the end of the play means for the run; nothing, when it is not ours any more."""
        try:
            result = await self._result(play)
        except asyncio.CancelledError:
            if self._lease.stop_asked:
                return Commit(Used(), "cancelled")
            if self._lease.lost:
                return None
            raise
        except NeedsDecisionError:
            budget = any(question.kind == "budget" for question in play.questions.values())
            return Commit(Used(), "waiting", again=_BUDGET_SECONDS if budget else None)
        except (LeaseLostError, ServiceStopsError, DatabaseUnavailable):
            raise
        except Problem as problem:
            if problem.retryable and self._parts.lifecycle.stopping.is_set():
                raise ServiceStopsError from problem
            log.warning("crew run failed", reason=problem.detail, problem=problem.slug)
            return _failed(problem)
        except Exception as error:
            log.exception("crew run failed in a way that nobody foresaw")
            return _failed(CrewFailed(f"The crew ended without a result ({type(error).__name__}); try again."))
        return Commit(Used(), "completed", outcome=result.model_dump(mode="json"))

    async def _result(self, play: Play) -> Result:
        """In a task of its own, which the lease can break off."""
        playing = asyncio.create_task(play.result(), name=f"play of {self._held.id}")
        self._lease.broken_off = playing.cancel
        if self._lease.lost or self._lease.stop_asked:
            playing.cancel()
        try:
            await asyncio.wait({playing})
        except asyncio.CancelledError:
            playing.cancel()
            await asyncio.wait({playing}, timeout=_BREAKING_OFF_SECONDS)
            raise
        return playing.result()

    async def _end(self, record: Record, past: Past, commit: Commit, questions: Sequence[Question] = ()) -> None:
        asked = {question.id for question in questions}
        settled = [id_ for id_, before in past.questions.items() if before.kind == "budget" and id_ not in asked]
        self._leases.let_go(self._lease)
        messages = [*(_asked(question) for question in questions), self._status(commit.status)]
        await record.end(replace(commit, questions=questions, settled=settled), messages)
        if commit.status != "waiting":
            self._parts.statuses.ended(self._held.organization, self._held.id)
        metrics.CREW_RUNS.labels(self._held.kind, commit.status).inc()
        log.info("crew run", status=commit.status, questions=len(questions))

    def _status(self, status: Status) -> Message:
        return Message(f"status/{self._held.epoch}/{status}", "status", status)


def _used_in(past: Past) -> Used:
    total = Used()
    for turned in past.turns.values():
        total += turned.used
    return total


def _asked(question: Question) -> Message:
    return Message(f"question/{question.id}", "question", question.title, question.agent)


def _failed(problem: Problem) -> Commit:
    return Commit(Used(), "failed", error={"problem": problem.document(), "headers": {**problem.headers}})
