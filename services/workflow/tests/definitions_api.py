"""The definitions of the workflow service behind their real HTTP edge and database, without the engine."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx2
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_kit.app import Resources, Service
from crewmesh_kit.db.database import Database
from crewmesh_kit.identity import Identity
from crewmesh_kit.settings import DaprSettings, DatabaseSettings
from crewmesh_testkit.fake_sidecar import FakeSidecar
from crewmesh_testkit.identities import APP_API_TOKEN, ORGANIZATION, auth_headers, identity
from crewmesh_testkit.polling import until
from crewmesh_testkit.services import running
from crewmesh_testkit.sharing import sharing_alone
from crewmesh_workflow.definitions.endpoints import router
from crewmesh_workflow.definitions.service import open_definitions
from crewmesh_workflow.settings import WorkflowSettings
from psycopg.types.json import Jsonb
from pydantic import SecretStr

MIGRATIONS = Path(__file__).resolve().parents[1] / "migrations"
WRITER = identity("workflows:read", "workflows:write")


@dataclass(frozen=True)
class Api:
    """Calls as somebody."""

    client: httpx2.AsyncClient
    database: Database
    who: Identity = WRITER

    def as_(self, who: Identity) -> Api:
        return replace(self, who=who)

    async def call(self, method: str, path: str, body: JsonValue = None, **headers: str) -> httpx2.Response:
        """Headers are written with _ for -."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {**auth_headers(self.who, audience="workflow"), **named}
        if "content-type" in named:
            return await self.client.request(method, f"/v1/workflows{path}", content=str(body), headers=sent)
        return await self.client.request(method, f"/v1/workflows{path}", json=body, headers=sent)

    async def get(self, path: str, **headers: str) -> httpx2.Response:
        sent = {**auth_headers(self.who, audience="workflow"), **headers}
        return await self.client.get(f"/v1/workflows{path}", headers=sent)

    async def post(self, path: str, body: JsonValue, **headers: str) -> httpx2.Response:
        return await self.call("POST", path, body, **headers)

    async def put(self, path: str, body: JsonValue, **headers: str) -> httpx2.Response:
        return await self.call("PUT", path, body, **headers)

    async def create(self, **more: JsonValue) -> str:
        """Save and publish a workflow; its id."""
        answer = await self.post("", definition(**more))
        assert answer.status_code == 201, answer.text
        return answer.json()["id"]

    async def edit(self, workflow: str, **more: JsonValue) -> str:
        """Save a draft over whatever is there; its ETag."""
        answer = await self.put(f"/{workflow}/draft", definition(**more), if_match="*")
        assert answer.status_code == 200, answer.text
        return answer.headers["etag"]

    async def publish(self, workflow: str, **more: JsonValue) -> JsonObject:
        """Save a draft and publish it."""
        tag = await self.edit(workflow, **more)
        answer = await self.post(f"/{workflow}/publish", {"message": "better"}, if_match=tag)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def triggers(self, workflow: str) -> list[JsonObject]:
        query = "SELECT key, kind, enabled, workflow_version, target FROM triggers WHERE workflow_id = %s ORDER BY key"
        async with self.database.system() as conn:
            return [dict(row) for row in await (await conn.execute(query, [workflow])).fetchall()]

    async def run(self, workflow: str, version: int, status: str, **ports: str | None) -> str:
        """A run that stands in the journal, with steps by path and the port each was left by; none: it waits."""
        async with self.database.system() as conn:
            cursor = await conn.execute(
                "INSERT INTO runs (id, org_id, workflow_id, workflow_version, status, trigger, epoch, seq, due_at,"
                " finished_at) VALUES ('run_' || replace(uuidv7()::text, '-', ''), %s, %s, %s, %s, '{}', 1, 5,"
                " CASE WHEN %s = 'running' THEN now() END, CASE WHEN %s = 'completed' THEN now() END) RETURNING id",
                [ORGANIZATION, workflow, version, status, status, status],
            )
            row = await cursor.fetchone()
            assert row is not None
            for position, (path, port) in enumerate(ports.items()):
                await conn.execute(
                    "INSERT INTO steps (run_id, path, org_id, position, status, attempt, port, started_at)"
                    " VALUES (%s, %s, %s, %s, %s, 1, %s, now())",
                    [row["id"], path, ORGANIZATION, position, "waiting" if port is None else "completed", port],
                )
            return row["id"]

    async def events(self, run: str) -> list[tuple[int, str, JsonObject]]:
        async with self.database.system() as conn:
            query = "SELECT seq, type, data FROM run_events WHERE run_id = %s ORDER BY seq"
            rows = await (await conn.execute(query, [run])).fetchall()
        return [(row["seq"], row["type"], row["data"]) for row in rows]

    async def version_of(self, run: str) -> tuple[int, int]:
        """(workflow version, seq)."""
        async with self.database.system() as conn:
            row = await (await conn.execute("SELECT workflow_version, seq FROM runs WHERE id = %s", [run])).fetchone()
        assert row is not None
        return row["workflow_version"], row["seq"]

    async def until_somebody_waits(self) -> None:
        """For a lock."""
        query = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

        async def somebody_waits() -> bool:
            async with self.database.system() as conn:
                return await (await conn.execute(query)).fetchone() is not None

        await until(somebody_waits, seconds=60, what="somebody to wait for a lock", every=0.01)

    async def execute(self, statement: str, *parameters: JsonValue) -> None:
        async with self.database.system() as conn:
            given = [Jsonb(value) if isinstance(value, dict | list) else value for value in parameters]
            await conn.execute(statement.encode(), given)


def definition(**more: JsonValue) -> JsonObject:
    return {"name": "w", "nodes": [{"id": "b", "kind": "transform", "output": {"x": 1}}], **more}


def event_trigger(**more: JsonValue) -> JsonObject:
    return {"kind": "event", "type": "com.example.happened", **more}


@asynccontextmanager
async def definitions_api(url: str) -> AsyncGenerator[Api]:
    """The service's part that is about definitions, on empty tables."""
    settings = WorkflowSettings(
        database=DatabaseSettings(url=SecretStr(url)), dapr=DaprSettings(app_api_token=SecretStr(APP_API_TOKEN))
    )
    service = Service("workflow", settings, title="t", version="0", sidecar=FakeSidecar("workflow"))
    service.database(migrations=MIGRATIONS)
    service.lifetime(sharing_alone)
    service.lifetime(open_definitions)
    service.routes(router)
    async with running(service.app) as client:
        resources: Resources = service.app.state.resources
        database = resources.get(Database)
        async with database.system() as conn:
            await conn.execute(
                "TRUNCATE workflows, runs, steps, run_events, waits, arrivals, triggers, idempotency CASCADE"
            )
        yield Api(client, database)
