"""Approvals over a real database, with the engine played by the test: it puts the question, and sees what arrives."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import httpx2
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.events import CloudEvent
from crewmesh_kit.app import Service
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.db.migrations import migrate
from crewmesh_kit.identity import Identity
from crewmesh_kit.ids import new_id
from crewmesh_kit.resources import Resources
from crewmesh_kit.settings import DaprSettings, DatabaseSettings
from crewmesh_kit.sharing.service import Sharing
from crewmesh_testkit.fake_sidecar import FakeSidecar
from crewmesh_testkit.identities import APP_API_TOKEN, ORGANIZATION, auth_headers
from crewmesh_testkit.services import running
from crewmesh_testkit.sharing import sharing_alone
from crewmesh_workflow.approvals import endpoints, link_endpoints
from crewmesh_workflow.approvals.links import Links
from crewmesh_workflow.approvals.reminders import Reminders
from crewmesh_workflow.approvals.service import Approvals
from crewmesh_workflow.approvals.tokens import LinkTokens
from crewmesh_workflow.engine.control import Control
from crewmesh_workflow.engine.programs import Programs
from crewmesh_workflow.nodes import all_kinds
from crewmesh_workflow.settings import WorkflowSettings
from psycopg.types.json import Jsonb
from pydantic import SecretStr

MIGRATIONS = Path(__file__).resolve().parents[1] / "migrations"
WORKFLOW = "wf_" + "0" * 32


def person(name: str, *groups: str, permissions: tuple[str, ...] = (), organization: str = ORGANIZATION) -> Identity:
    """Somebody who may read and decide approvals."""
    allowed = frozenset({"approvals:read", "approvals:decide", *permissions})
    return Identity(organization, name, allowed, frozenset(groups))


ANN, BOB, CLEO = person("ann"), person("bob"), person("cleo")
EVE = person("usr_eve", "team:ops")
EVES_KEY = replace(EVE, subject="key_eve", acting_for=EVE.subject)
OWNER = person("owner", permissions=("*",))
READER = Identity(ORGANIZATION, "reader", frozenset({"approvals:read"}))


def control(database: Database) -> Control:
    """The engine's ear, with nobody behind it who would go on with the run."""

    async def raise_event(instance: str, event: str, leave: bool) -> None:
        raise AssertionError(f"{event} was raised for {instance}")

    async def look() -> None:
        raise AssertionError("somebody was told to look")

    return Control(database, raise_event=raise_event, look=look, nudge=lambda: None, drive_here=lambda _: False)


@dataclass
class Clock:
    """What links believe the time is: it stands, at the beginning of a second, until it is moved."""

    ahead: float = 0
    began: int = field(default_factory=lambda: int(time.time()))

    def __call__(self) -> float:
        return self.began + self.ahead


@dataclass
class Desk:
    """Where people are asked and decide."""

    client: httpx2.AsyncClient
    database: Database
    sidecar: FakeSidecar
    reminders: Reminders
    clock: Clock
    asked: list[str] = field(default_factory=list[str])

    async def ask(
        self,
        asks: str = "approval",
        /,
        *,
        organization: str = ORGANIZATION,
        seconds: float | None = None,
        escalate_seconds: float | None = None,
        **request: JsonValue,
    ) -> str:
        """A run that waits for people; the question's id."""
        run, question = new_id("run"), new_id("apr")
        while self.asked and question <= self.asked[-1]:  # lists are in the order of ids, which is that of milliseconds
            question = new_id("apr")
        asked: JsonObject = {"title": "Pay 120 €?", "details": None, "assignees": [], **request}
        async with self.database.tenant(organization) as conn:
            await conn.execute(
                "INSERT INTO runs (id, org_id, workflow_id, workflow_version, status, trigger, epoch, seq)"
                " VALUES (%s, %s, %s, 3, 'waiting', '{}', 1, 1)",
                [run, organization, WORKFLOW],
            )
            await conn.execute(
                "INSERT INTO steps (run_id, path, org_id, position, status, attempt, started_at)"
                " VALUES (%s, 'ask', %s, 1, 'waiting', 1, now())",
                [run, organization],
            )
            await conn.execute(
                "INSERT INTO waits (run_id, path, org_id, id, kind, request, until, escalate_at) VALUES"
                " (%s, 'ask', %s, %s, %s, %s, now() + make_interval(secs => %s), now() + make_interval(secs => %s))",
                [run, organization, question, asks, Jsonb(asked), seconds, escalate_seconds],
            )
        self.asked.append(question)
        return question

    async def get(self, path: str, who: Identity) -> httpx2.Response:
        return await self.client.get(path, headers=auth_headers(who, audience="workflow"))

    async def read(self, question: str, who: Identity = OWNER) -> JsonObject:
        answer = await self.get(f"/v1/approvals/{question}", who)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def decisions(self, question: str) -> list[JsonObject]:
        return cast("list[JsonObject]", (await self.read(question))["decisions"])

    async def post(self, path: str, who: Identity, body: JsonValue, **headers: str) -> httpx2.Response:
        return await self.client.post(path, json=body, headers={**auth_headers(who, audience="workflow"), **headers})

    async def decide(self, question: str, who: Identity, body: JsonObject, **headers: str) -> httpx2.Response:
        return await self.post(f"/v1/approvals/{question}/decisions", who, body, **headers)

    async def link(self, question: str, who: Identity, **body: JsonValue) -> str:
        """The path of a link."""
        made = await self.post(f"/v1/approvals/{question}/links", who, body)
        assert made.status_code == 201, made.text
        return made.json()["url"].removeprefix("https://crewmesh.test")

    async def arrived(self, question: str) -> list[JsonObject]:
        async with self.database.system() as conn:
            cursor = await conn.execute("SELECT data FROM arrivals WHERE wait_id = %s", [question])
            return [row["data"] for row in await cursor.fetchall()]

    async def execute(self, statement: str, question: str) -> None:
        """Change the row of a question, or what belongs to it."""
        async with self.database.system() as conn:
            await conn.execute(statement.encode(), [question])

    async def told(self, type_: str) -> list[JsonObject]:
        """The data of the events of this type, published or about to be."""
        async with self.database.system() as conn:
            cursor = await conn.execute("SELECT event FROM outbox ORDER BY position")
            waiting = [CloudEvent.model_validate_json(row["event"]) for row in await cursor.fetchall()]
        # One that leaves right now is in both.
        told = {event.id: event for event in [*waiting, *self.sidecar.published_on("runs")] if event.type == type_}
        return [event.data for event in told.values() if isinstance(event.data, dict)]


@asynccontextmanager
async def open_desk(url: str) -> AsyncGenerator[Desk]:
    sidecar = FakeSidecar("workflow")
    clock = Clock()

    @asynccontextmanager
    async def open_approvals(resources: Resources) -> AsyncGenerator[Approvals]:
        yield Approvals(
            resources.get(Database),
            resources.get(Idempotency),
            resources.get(Sharing),
            arrivals=control(resources.get(Database)),
            programs=Programs(resources.get(Database), all_kinds()),
        )

    @asynccontextmanager
    async def open_links(resources: Resources) -> AsyncGenerator[Links]:
        yield Links(
            resources.get(Database),
            resources.get(Idempotency),
            resources.get(Approvals),
            LinkTokens("a master key of the tests", now=clock),
            base_url="https://crewmesh.test/",
        )

    settings = WorkflowSettings(
        database=DatabaseSettings(url=SecretStr(url)), dapr=DaprSettings(app_api_token=SecretStr(APP_API_TOKEN))
    )
    service = Service("workflow", settings, title="Approvals", version="0", sidecar=sidecar)
    service.database(migrations=MIGRATIONS)
    service.lifetime(sharing_alone)
    service.lifetime(open_approvals)
    service.lifetime(open_links)
    service.routes(endpoints.router, link_endpoints.router)
    # Before the service starts, or it would publish what a test before has left.
    await migrate(url, app_id="workflow", migrations=MIGRATIONS)
    async with Database.open(url, app_id="workflow") as before, before.system() as conn:
        await conn.execute("TRUNCATE runs, steps, waits, arrivals, decisions, used_links, outbox, idempotency CASCADE")
    async with running(service.app) as client:
        client.headers["dapr-api-token"] = APP_API_TOKEN
        database = service.resources.get(Database)
        yield Desk(client, database, sidecar, Reminders(database), clock)
