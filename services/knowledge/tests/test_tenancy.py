"""Nobody reaches another organization's knowledge: not by any route, and not by SQL either."""

from __future__ import annotations

from collections.abc import Callable

import httpx2
import psycopg
import pytest
import pytest_asyncio
from crewmesh_contracts.invocations import SEARCH
from crewmesh_kit.db.database import Database
from crewmesh_kit.ids import new_id
from crewmesh_kit.resources import Resources
from fastapi import FastAPI
from psycopg import sql

pytestmark = pytest.mark.asyncio(loop_scope="module")

BASE = "/v1/knowledge-bases/secrets"
DOCUMENT = {"title": "Plan", "text": "The secret plan is to win."}
# Every route, and what is sent there to reach the other organization's base; {document} is a document in it.
ATTEMPTS: dict[tuple[str, str], tuple[str, dict[str, str] | None]] = {
    ("GET", "/v1/knowledge-bases/{name}"): (BASE, None),
    ("GET", "/v1/knowledge-bases/{name}/documents"): (f"{BASE}/documents", None),
    ("POST", "/v1/knowledge-bases/{name}/documents"): (f"{BASE}/documents", DOCUMENT),
    ("GET", "/v1/knowledge-bases/{name}/documents/{document}"): (f"{BASE}/documents/{{document}}", None),
    ("DELETE", "/v1/knowledge-bases/{name}/documents/{document}"): (f"{BASE}/documents/{{document}}", None),
    ("POST", "/v1/knowledge-bases/{name}/search"): (f"{BASE}/search", {"query": "plan"}),
    ("GET", "/v1/knowledge-bases/{resource}/access"): (f"{BASE}/access", None),
    ("PUT", "/v1/knowledge-bases/{resource}/access"): (f"{BASE}/access", {}),
    ("POST", SEARCH.path): (SEARCH.path, {"knowledge_base": "secrets", "query": "plan"}),
}
# These name no base: they are about the caller's own organization by themselves, which has tests of its own below.
OWN = {("GET", "/v1/knowledge-bases"), ("POST", "/v1/knowledge-bases")}


@pytest_asyncio.fixture(loop_scope="module")
async def document(client: httpx2.AsyncClient) -> str:
    await client.post("/v1/knowledge-bases", json={"name": "secrets"})
    return (await client.post(f"{BASE}/documents", json=DOCUMENT)).json()["id"]


@pytest.fixture
def stranger(caller: Callable[..., httpx2.AsyncClient]) -> httpx2.AsyncClient:
    return caller(new_id("org"), "*")


async def test_every_route_is_tried(client: httpx2.AsyncClient) -> None:
    openapi = (await client.get("/internal/openapi.json")).json()
    public = {
        (method.upper(), path)
        for path, methods in openapi["paths"].items()
        for method in methods
        if path.startswith("/v1/knowledge-bases")
    }
    assert public | {("POST", SEARCH.path)} == set(ATTEMPTS) | OWN


@pytest.mark.parametrize("route", list(ATTEMPTS), ids=" ".join)
async def test_a_stranger_finds_nothing_and_changes_nothing(
    client: httpx2.AsyncClient, stranger: httpx2.AsyncClient, document: str, route: tuple[str, str]
) -> None:
    path, body = ATTEMPTS[route]
    answer = await stranger.request(route[0], path.format(document=document), json=body)
    assert answer.status_code == 404
    assert "Plan" not in answer.text
    assert "win" not in answer.text
    kept = (await client.get(f"{BASE}/documents")).json()["items"]
    assert [item["id"] for item in kept] == [document]


async def test_lists_and_searches_hold_only_ones_own(stranger: httpx2.AsyncClient, document: str) -> None:
    assert (await stranger.get("/v1/knowledge-bases")).json()["items"] == []
    await stranger.post("/v1/knowledge-bases", json={"name": "secrets"})
    assert (await stranger.get(f"{BASE}/documents")).json()["items"] == []
    assert (await stranger.post(f"{BASE}/search", json={"query": "secret plan"})).json()["hits"] == []
    assert (await stranger.get(f"{BASE}/documents/{document}")).status_code == 404
    assert (await stranger.delete(f"{BASE}/documents/{document}")).status_code == 404


class TestTheDatabaseItself:
    @pytest.fixture
    def database(self, app: FastAPI) -> Database:
        resources: Resources = app.state.resources
        return resources.get(Database)

    @pytest.mark.parametrize("table", ["knowledge_bases", "documents", "chunks"])
    async def test_rows_of_others_do_not_exist(
        self, database: Database, organization: str, document: str, table: str
    ) -> None:
        assert document
        async with database.tenant(organization) as connection:
            own = await (
                await connection.execute(sql.SQL("SELECT count(*) AS rows FROM {}").format(sql.Identifier(table)))
            ).fetchone()
        async with database.tenant(new_id("org")) as connection:
            others = await (
                await connection.execute(sql.SQL("SELECT count(*) AS rows FROM {}").format(sql.Identifier(table)))
            ).fetchone()
            changed = await connection.execute(
                sql.SQL("DELETE FROM {} WHERE org_id = %s").format(sql.Identifier(table)), (organization,)
            )
        assert own is not None
        assert own["rows"] >= 1
        assert others == {"rows": 0}
        assert changed.rowcount == 0

    async def test_nothing_can_be_written_in_anothers_name(self, database: Database, organization: str) -> None:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with database.tenant(new_id("org")) as connection:
                await connection.execute(
                    "INSERT INTO knowledge_bases (id, org_id, name, description) VALUES ('kb_x', %s, 'x', '')",
                    (organization,),
                )

    async def test_nothing_can_be_put_into_anothers_base(
        self, database: Database, client: httpx2.AsyncClient, document: str
    ) -> None:
        assert document
        base = (await client.get(BASE)).json()["id"]
        mine = new_id("org")
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            async with database.tenant(mine) as connection:
                await connection.execute(
                    "INSERT INTO documents (id, org_id, base_id, title, text, content_hash, chunk_count)"
                    " VALUES (%s, %s, %s, 't', 't', 'h', 0)",
                    (new_id("doc"), mine, base),
                )
