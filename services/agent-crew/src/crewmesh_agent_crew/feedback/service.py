"""Hearing what people think of what came of a run. What they write becomes an insight for later runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_contracts.base import JsonObject
from crewmesh_kit import audit
from crewmesh_kit.app import Resources
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.http.pagination import Page, PageRequest
from crewmesh_kit.identity import Identity
from crewmesh_kit.ids import new_id

from crewmesh_agent_crew.crew_runs.models import ENDED
from crewmesh_agent_crew.crew_runs.views import CrewRunViews
from crewmesh_agent_crew.feedback import repository
from crewmesh_agent_crew.feedback.errors import NothingToLearn, NotYetEnded
from crewmesh_agent_crew.feedback.insights import Insights
from crewmesh_agent_crew.feedback.schemas import FeedbackRequest, FeedbackView


class Feedback:
    def __init__(self, database: Database, idempotency: Idempotency, runs: CrewRunViews, insights: Insights) -> None:
        self._database = database
        self._idempotency = idempotency
        self._runs = runs
        self._insights = insights

    async def say(self, identity: Identity, crew_run: str, key: str | None, request: FeedbackRequest) -> FeedbackView:
        """Once per person and run: what is said later takes the place of what was said before."""
        async with self._database.tenant(identity.organization) as conn:
            status, about = await self._runs.whose(conn, identity, crew_run)
            if status not in ENDED:
                raise NotYetEnded(status)
            if about is None:
                raise NothingToLearn("This run was of no crew or agent that is kept; nobody could learn from it.")

            async def work() -> FeedbackView:
                said = await repository.say(conn, _values(identity, crew_run, about, request))
                await audit.record(conn, identity, "feedback.given", said.id, after=_given(said))
                await self._insights.learn_from(conn, identity, said)
                return said

            return await self._idempotency.once_in(
                conn, identity=identity, scope=f"feedback {crew_run}", key=key, request=request, work=work
            )

    async def of_run(self, identity: Identity, crew_run: str, wanted: PageRequest) -> Page[FeedbackView]:
        after = wanted.after_text()
        async with self._database.tenant(identity.organization) as conn:
            await self._runs.whose(conn, identity, crew_run)
            found = await repository.of_run(conn, crew_run, after, wanted.limit + 1)
        return wanted.page(found, lambda said: (said.id,))


def _values(identity: Identity, crew_run: str, about: str, request: FeedbackRequest) -> dict[str, object]:
    return {
        "id": new_id("fb"),
        "org": identity.organization,
        "crew_run": crew_run,
        "about": about,
        "rating": request.rating,
        "comment": request.comment,
        "by": identity.behind,
    }


def _given(said: FeedbackView) -> JsonObject:
    return {"crew_run": said.crew_run, "rating": said.rating}


@asynccontextmanager
async def open_feedback(resources: Resources) -> AsyncGenerator[Feedback]:
    yield Feedback(
        resources.get(Database), resources.get(Idempotency), resources.get(CrewRunViews), resources.get(Insights)
    )
