"""Crew runs as people see them: those of crews and agents that they may see, and their own chats."""

from __future__ import annotations

from datetime import datetime
from typing import cast

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.invocations import Verdict
from crewmesh_kit import audit
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.http.pagination import Page, PageRequest
from crewmesh_kit.identity import Identity
from crewmesh_kit.sharing.rules import EVERYTHING
from crewmesh_kit.sharing.service import Sharing
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_agent_crew.access import RUN, RUN_AGENT, SEE, SEE_AGENT
from crewmesh_agent_crew.crew_runs.errors import (
    CrewRunEnded,
    CrewRunNotFound,
    DecidedElsewhere,
    QuestionDecided,
    QuestionNotFound,
)
from crewmesh_agent_crew.crew_runs.models import ENDED, Kind, Result, Status, group_of
from crewmesh_agent_crew.crew_runs.repository import CrewRunRepository, Wanted
from crewmesh_agent_crew.crew_runs.schemas import (
    CrewRun,
    CrewRunFailure,
    CrewRunMessage,
    CrewRunQuestion,
    CrewRunSummary,
    Decision,
)
from crewmesh_agent_crew.crew_runs.service import CrewRuns
from crewmesh_agent_crew.models.usage import Used


class CrewRunViews:
    def __init__(self, database: Database, idempotency: Idempotency, sharing: Sharing, runs: CrewRuns) -> None:
        self._database = database
        self._idempotency = idempotency
        self._sharing = sharing
        self._runs = runs

    async def page(
        self,
        identity: Identity,
        wanted: PageRequest,
        *,
        status: Status | None,
        kind: Kind | None,
        crew: str | None,
        agent: str | None,
        since: datetime | None,
        until: datetime | None,
    ) -> Page[CrewRunSummary]:
        before = wanted.after_text()
        async with self._database.tenant(identity.organization) as connection:
            reach = await self._seen(connection, identity)
            which = Wanted(reach.me, reach.crews, reach.agents, status, kind, crew, agent, since, until)
            rows = await CrewRunRepository(connection).before(which, before, wanted.limit + 1)
        return wanted.page([summary_of(row) for row in rows], lambda run: (run.id,))

    async def get(self, identity: Identity, crew_run: str) -> CrewRun:
        async with self._database.tenant(identity.organization) as connection:
            row = await self._found(connection, identity, crew_run)
            questions = await CrewRunRepository(connection).questions(crew_run)
        return crew_run_of(row, questions)

    async def whose(
        self, connection: AsyncConnection[DictRow], identity: Identity, crew_run: str
    ) -> tuple[Status, str | None]:
        """How a run that one may see stands, and who works in it: ``crew:crew_…``, ``agent:agt_…``, or nobody kept."""
        row = await self._found(connection, identity, crew_run)
        return row["status"], group_of(row["crew_id"], row["agent_id"])

    async def steered(self, identity: Identity, crew_run: str) -> CrewRun:
        """The same, for whoever may set what works in it to work."""
        async with self._database.tenant(identity.organization) as connection:
            row = await self._steered(connection, identity, crew_run)
            questions = await CrewRunRepository(connection).questions(crew_run)
        return crew_run_of(row, questions)

    async def messages(self, identity: Identity, crew_run: str, wanted: PageRequest) -> Page[CrewRunMessage]:
        after = wanted.after(int)
        async with self._database.tenant(identity.organization) as connection:
            await self._found(connection, identity, crew_run)
            seq = int(after[0]) if after else 0
            rows = await CrewRunRepository(connection).messages(crew_run, min(seq, 2**62), wanted.limit + 1)
        return wanted.page([CrewRunMessage.model_validate(row) for row in rows], lambda message: (message.seq,))

    async def questions(self, identity: Identity, crew_run: str) -> list[CrewRunQuestion]:
        async with self._database.tenant(identity.organization) as connection:
            await self._found(connection, identity, crew_run)
            rows = await CrewRunRepository(connection).questions(crew_run)
        return [CrewRunQuestion.model_validate(row) for row in rows]

    async def decide(
        self, identity: Identity, crew_run: str, question: str, decision: Decision, *, key: str | None
    ) -> CrewRunQuestion:
        """The first decision counts; the same one again is the same."""

        async def decide() -> CrewRunQuestion:
            await self._steered(connection, identity, crew_run, deciding=True)
            repository = CrewRunRepository(connection)
            verdict = Verdict(
                question=question, approved=decision.approved, arguments=decision.arguments, by=identity.subject
            )
            decided = await repository.decide(crew_run, verdict)
            asked = next((row for row in await repository.questions(crew_run) if row["id"] == question), None)
            if asked is None:
                raise QuestionNotFound(question)
            found = CrewRunQuestion.model_validate(asked)
            if not decided and (found.approved, found.edited) != (decision.approved, decision.arguments):
                raise QuestionDecided(_why_not(found))
            if decided:
                told: JsonObject = {"question": found.title, **decision.model_dump(mode="json")}
                await audit.record(connection, identity, "crew-run.decided", crew_run, after=told)
            return found

        async with self._database.tenant(identity.organization) as connection:
            found = await self._idempotency.once_in(
                connection,
                identity=identity,
                scope=f"decide/{crew_run}/{question}",
                key=key,
                request=decision,
                work=decide,
            )
        self._runs.told(crew_run, identity.organization)
        return found

    async def cancel(self, identity: Identity, crew_run: str) -> CrewRun:
        async with self._database.tenant(identity.organization) as connection:
            row = await self._steered(connection, identity, crew_run)
            if row["status"] not in ENDED:
                await self._runs.cancel_in(connection, crew_run)
                await audit.record(connection, identity, "crew-run.cancelled", crew_run)
            elif row["status"] != "cancelled":
                raise CrewRunEnded("The crew run has ended already; there is nothing to cancel.")
        return await self.steered(identity, crew_run)

    async def events(self, identity: Identity, crew_run: str, after: int, limit: int) -> list[DictRow]:
        """Messages and what became of the run, behind a number; asked with the right to see it."""
        async with self._database.tenant(identity.organization) as connection:
            await self._found(connection, identity, crew_run)
            return await CrewRunRepository(connection).messages(crew_run, after, limit, with_status=True)

    async def news(self, organization: str, crew_run: str, after: int, limit: int) -> list[DictRow]:
        """The same, for those whose right was asked for before."""
        async with self._database.tenant(organization) as connection:
            return await CrewRunRepository(connection).messages(crew_run, after, limit, with_status=True)

    async def _seen(self, connection: AsyncConnection[DictRow], identity: Identity) -> Wanted:
        crews = await self._sharing.reach(connection, identity, SEE)
        return Wanted(identity.subject, crews, await self._sharing.reach(connection, identity, SEE_AGENT))

    async def _found(self, connection: AsyncConnection[DictRow], identity: Identity, crew_run: str) -> DictRow:
        row = await CrewRunRepository(connection).get(crew_run, await self._seen(connection, identity))
        if row is None:
            raise CrewRunNotFound(crew_run)
        return row

    async def _steered(
        self, connection: AsyncConnection[DictRow], identity: Identity, crew_run: str, *, deciding: bool = False
    ) -> DictRow:
        """The run, if one may set what works in it to work."""
        unknown = CrewRunNotFound(crew_run)
        row = await CrewRunRepository(connection).get(crew_run, Wanted(identity.subject, EVERYTHING, EVERYTHING))
        if row is None:
            raise unknown
        if row["kind"] != "chat" and row["crew_id"] is not None:
            await self._sharing.ensure(connection, identity, RUN, row["crew_id"], unknown=unknown)
        if row["kind"] != "chat" and row["agent_id"] is not None:
            await self._sharing.ensure(connection, identity, RUN_AGENT, row["agent_id"], unknown=unknown)
        if deciding and row["charge"].get("run") is not None:
            raise DecidedElsewhere(row["charge"]["run"])
        return row


def _why_not(found: CrewRunQuestion) -> str:
    if found.kind == "budget":
        return "A budget is used up: top it up with POST /v1/budgets/{id}/top-ups, and the work goes on by itself."
    return f"{found.decided_by} said {'yes' if found.approved else 'no'} before."


def summary_of(row: DictRow) -> CrewRunSummary:
    return CrewRunSummary.model_validate(_told(row))


def crew_run_of(row: DictRow, questions: list[DictRow]) -> CrewRun:
    result = None if row["outcome"] is None else Result.model_validate(row["outcome"])
    return CrewRun.model_validate(
        {
            **_told(row),
            "asked": _asked(row["work"]),
            "text": None if result is None else result.text,
            "data": None if result is None else result.data,
            "said": () if result is None else [each.model_dump() for each in result.said],
            "waits_for": [row_["id"] for row_ in questions if row_["decided_at"] is None],
        }
    )


def _told(row: DictRow) -> dict[str, object]:
    problem = cast(JsonObject, row["error"]["problem"]) if row["error"] else None
    slug = "" if problem is None else str(problem["type"]).rsplit("/", 1)[-1]
    return {
        **row,
        "run": row["charge"].get("run"),
        "step": row["charge"].get("step"),
        "error": None if problem is None else CrewRunFailure.model_validate({**problem, "type": slug}),
        "usage": Used.model_validate(row["usage"]).told(),
    }


def _asked(work: JsonObject) -> JsonObject:
    if work["of"] == "crew":
        return cast(JsonObject, work["inputs"])
    return {"task": work["task"], "expected": work["expected"]}
