"""What crews and agents are taught, in people's own words: no model puts it otherwise.

Whoever may change a crew may teach it; the words of others are told it, too, as words of strangers.
"""

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
from crewmesh_kit.sharing.service import Sharing
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_agent_crew.access import CHANGE, CHANGE_AGENT, SEE, SEE_AGENT
from crewmesh_agent_crew.agents.lookup import AGENTS
from crewmesh_agent_crew.crew_runs.stage import Recollection
from crewmesh_agent_crew.crews.repository import CREWS
from crewmesh_agent_crew.feedback import repository
from crewmesh_agent_crew.feedback.errors import InsightNotFound
from crewmesh_agent_crew.feedback.schemas import FeedbackView, InsightRequest, InsightView
from crewmesh_agent_crew.records.repository import RecordRepository

# So many of the newest are told.
_MOST_TOLD = 5


class Insights:
    def __init__(self, database: Database, idempotency: Idempotency, sharing: Sharing) -> None:
        self._database = database
        self._idempotency = idempotency
        self._sharing = sharing

    async def of(self, conn: AsyncConnection[DictRow], about: str) -> tuple[Recollection, ...]:
        """What a crew or agent was taught lately."""
        return tuple(await repository.newest(conn, about, _MOST_TOLD))

    async def page(self, identity: Identity, about: str, wanted: PageRequest) -> Page[InsightView]:
        before = wanted.after_text()
        async with self._database.tenant(identity.organization) as conn:
            learner = await self._learner(conn, identity, about)
            found = await repository.page(conn, learner, before, wanted.limit + 1)
        return wanted.page(found, lambda insight: (insight.id,))

    async def teach(self, identity: Identity, key: str | None, request: InsightRequest) -> InsightView:
        async with self._database.tenant(identity.organization) as conn:
            learner = await self._learner(conn, identity, request.about, changing=True)

            async def work() -> InsightView:
                return await self._learn(conn, identity, learner, request.text, None, trusted=True)

            return await self._idempotency.once_in(
                conn, identity=identity, scope="insight", key=key, request=request, work=work
            )

    async def learn_from(self, conn: AsyncConnection[DictRow], identity: Identity, said: FeedbackView) -> None:
        """A comment is remembered; one that was taken back is not."""
        if not said.comment:
            await repository.unlearn(conn, said.id)
            return
        trusted = await self._may_change(conn, identity, said.about)
        await self._learn(conn, identity, said.about, said.comment, said.id, trusted=trusted)

    async def drop(self, identity: Identity, insight: str) -> None:
        async with self._database.tenant(identity.organization) as conn:
            found = await repository.find(conn, insight)
            if found is None:
                raise InsightNotFound(insight)
            await self._learner(conn, identity, found.about, changing=True)
            await repository.drop(conn, insight)
            await audit.record(conn, identity, "insight.deleted", insight, before=_told(found))

    async def _learn(
        self,
        conn: AsyncConnection[DictRow],
        identity: Identity,
        about: str,
        text: str,
        feedback: str | None,
        *,
        trusted: bool,
    ) -> InsightView:
        values: dict[str, object] = {
            "id": new_id("ins"),
            "org": identity.organization,
            "about": about,
            "text": text,
            "trusted": trusted,
            "feedback": feedback,
            "by": identity.behind,
        }
        learnt = await repository.learn(conn, values)
        await audit.record(conn, identity, "insight.created", learnt.id, after=_told(learnt))
        return learnt

    async def _learner(
        self, conn: AsyncConnection[DictRow], identity: Identity, about: str, *, changing: bool = False
    ) -> str:
        """Whom this is about, by id; who may not see them does not find them."""
        kind, _, ref = about.partition(":")
        if kind == "crew":
            need, unknown = CHANGE if changing else SEE, CREWS.unknown(ref)
            stored = await RecordRepository(conn, identity.organization, CREWS).find(ref)
        else:
            need, unknown = CHANGE_AGENT if changing else SEE_AGENT, AGENTS.unknown(ref)
            stored = await RecordRepository(conn, identity.organization, AGENTS).find(ref)
        if stored is None:
            raise unknown
        await self._sharing.ensure(conn, identity, need, stored.id, unknown=unknown)
        return f"{kind}:{stored.id}"

    async def _may_change(self, conn: AsyncConnection[DictRow], identity: Identity, about: str) -> bool:
        kind, _, id_ = about.partition(":")
        return await self._sharing.reaches(conn, identity, CHANGE if kind == "crew" else CHANGE_AGENT, id_)


def _told(insight: InsightView) -> JsonObject:
    return {"about": insight.about, "trusted": insight.trusted}


@asynccontextmanager
async def open_insights(resources: Resources) -> AsyncGenerator[Insights]:
    yield Insights(resources.get(Database), resources.get(Idempotency), resources.get(Sharing))
