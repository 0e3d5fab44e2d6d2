"""Knowledge bases that are shared one by one: lists, documents and searches, for people and for workflows."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, replace

import httpx2
import pytest
import pytest_asyncio
from crewmesh_contracts.invocations import SEARCH
from crewmesh_kit.identity import Identity
from crewmesh_kit.ids import new_id
from crewmesh_testkit.identities import APP_API_TOKEN, auth_headers, identity
from fastapi import FastAPI

pytestmark = pytest.mark.asyncio(loop_scope="module")

BASE = "/v1/knowledge-bases/secrets"
TEXT = "The secret plan is to win."
WORKFLOW = "workflow:wf_" + "1" * 32
READING = [("GET", BASE, None), ("GET", f"{BASE}/documents", None), ("POST", f"{BASE}/search", {"query": "plan"})]


@dataclass
class House:
    """An organization with a knowledge base that holds a secret, and others that hold none."""

    client: httpx2.AsyncClient
    owner: Identity
    document: str

    def person(self, number: str, *permissions: str) -> Identity:
        who = identity(*permissions, organization=self.owner.organization, subject="usr_" + number * 32)
        return replace(who, groups=frozenset({"role:editor" if permissions else "role:role_x"}))

    async def ask(self, who: Identity, method: str, path: str, body: object = None, **more: str) -> httpx2.Response:
        headers = {**auth_headers(who, audience="knowledge"), **more}
        return await self.client.request(method, path, json=body, headers=headers)

    async def share(self, *grants: tuple[str, str], restricted: bool = True) -> None:
        body = {"restricted": restricted, "grants": [{"grantee": who, "level": level} for who, level in grants]}
        answer = await self.ask(self.owner, "PUT", f"{BASE}/access", body, **{"if-match": "*"})
        assert answer.status_code == 200, answer.text


@pytest_asyncio.fixture(loop_scope="module")
async def house(app: FastAPI) -> AsyncGenerator[House]:
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    headers = {"dapr-api-token": APP_API_TOKEN}
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://knowledge.test", headers=headers, timeout=30
    ) as client:
        made = House(client, identity("*", organization=new_id("org")), "")
        for name in ("handbook", "secrets", "tales"):
            await made.ask(made.owner, "POST", "/v1/knowledge-bases", {"name": name})
        added = await made.ask(made.owner, "POST", f"{BASE}/documents", {"title": "Plan", "text": TEXT})
        made.document = added.json()["id"]
        yield made


async def test_what_is_hidden_is_in_no_list_search_or_document(house: House) -> None:
    editor = house.person("1", "knowledge:read", "knowledge:write")
    await house.share()
    first = (await house.ask(editor, "GET", "/v1/knowledge-bases?limit=1")).json()
    rest = (await house.ask(editor, "GET", f"/v1/knowledge-bases?limit=1&cursor={first['next_cursor']}")).json()
    assert [item["name"] for page in (first, rest) for item in page["items"]] == ["handbook", "tales"]
    document = f"{BASE}/documents/{house.document}"
    changing = [("DELETE", document, None), ("POST", f"{BASE}/documents", {"title": "t", "text": "t"})]
    internal = ("POST", SEARCH.path, {"knowledge_base": "secrets", "query": "plan"})
    for method, path, body in [*READING, ("GET", document, None), *changing, internal]:
        answer = await house.ask(editor, method, path, body)
        assert answer.status_code == 404, (method, path, answer.text)
        assert answer.json()["type"].endswith("/unknown-knowledge-base")
        assert "win" not in answer.text
    kept = (await house.ask(house.owner, "GET", f"{BASE}/documents")).json()["items"]
    assert [item["id"] for item in kept] == [house.document]


async def test_a_grant_opens_as_far_as_it_goes(house: House) -> None:
    guest = house.person("2")
    document = {"title": "Mine", "text": "A text of the guest."}
    assert (await house.ask(guest, "GET", "/v1/knowledge-bases")).status_code == 403
    await house.share((f"user:{guest.subject}", "view"))
    for method, path, body in READING:
        assert (await house.ask(guest, method, path, body)).status_code == 200, path
    assert (await house.ask(guest, "GET", "/v1/knowledge-bases/handbook")).status_code == 404
    assert (await house.ask(guest, "POST", f"{BASE}/documents", document)).status_code == 403
    await house.share((f"user:{guest.subject}", "edit"), restricted=False)
    added = await house.ask(guest, "POST", f"{BASE}/documents", document)
    assert added.status_code == 201, added.text
    assert (await house.ask(guest, "DELETE", f"{BASE}/documents/{added.json()['id']}")).status_code == 204
    assert (await house.ask(guest, "POST", "/v1/knowledge-bases", {"name": "new"})).status_code == 403


async def test_who_may_see_and_not_change_is_told_the_level(house: House) -> None:
    editor = house.person("3", "knowledge:read", "knowledge:write")
    await house.share(("role:editor", "view"))
    refused = await house.ask(editor, "DELETE", f"{BASE}/documents/{house.document}")
    assert (refused.status_code, refused.json()["level"]) == (403, "edit")


@pytest.mark.parametrize("group", [WORKFLOW, "crew:crew_" + "2" * 32, "agent:agt_" + "3" * 32])
async def test_what_runs_searches_what_it_was_granted(house: House, group: str) -> None:
    run = replace(house.person("4", SEARCH.permission), subject=new_id("run"), groups=frozenset({group}))
    body = {"knowledge_base": "secrets", "query": "secret plan"}
    await house.share()
    assert (await house.ask(run, "POST", SEARCH.path, body)).status_code == 404
    await house.share((group, "view"))
    assert (await house.ask(run, "POST", SEARCH.path, body)).json()["hits"]
