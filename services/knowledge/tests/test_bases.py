"""Knowledge bases over HTTP."""

from __future__ import annotations

from collections.abc import Callable

import httpx2
import pytest
from crewmesh_kit.ids import new_id

pytestmark = pytest.mark.asyncio(loop_scope="module")

BASES = "/v1/knowledge-bases"


class TestCreating:
    async def test_a_base_is_made_and_can_be_read(self, client: httpx2.AsyncClient) -> None:
        created = await client.post(BASES, json={"name": "policies", "description": "House rules."})
        assert created.status_code == 201
        assert created.headers["location"] == f"{BASES}/policies"
        read = await client.get(f"{BASES}/policies")
        assert read.json() == created.json()
        assert created.json()["id"].startswith("kb_")
        assert created.json()["description"] == "House rules."

    async def test_a_name_is_taken_once_in_an_organization(
        self, client: httpx2.AsyncClient, caller: Callable[..., httpx2.AsyncClient]
    ) -> None:
        await client.post(BASES, json={"name": "policies"})
        again = await client.post(BASES, json={"name": "policies"})
        assert again.status_code == 409
        assert again.json()["type"].endswith("/knowledge-base-exists")
        elsewhere = caller(new_id("org"), "knowledge:write")
        assert (await elsewhere.post(BASES, json={"name": "policies"})).status_code == 201

    async def test_the_same_key_gives_the_same_answer(self, client: httpx2.AsyncClient) -> None:
        headers = {"Idempotency-Key": "make-policies"}
        first = await client.post(BASES, json={"name": "policies"}, headers=headers)
        second = await client.post(BASES, json={"name": "policies"}, headers=headers)
        assert (second.status_code, second.json()) == (201, first.json())
        other = await client.post(BASES, json={"name": "others"}, headers=headers)
        assert other.status_code == 422
        assert other.json()["type"].endswith("/idempotency-key-reused")


class TestReading:
    async def test_an_unknown_base_says_how_to_make_one(self, client: httpx2.AsyncClient) -> None:
        answer = await client.get(f"{BASES}/nothing")
        assert answer.status_code == 404
        assert answer.headers["content-type"] == "application/problem+json"
        assert 'POST /v1/knowledge-bases and {"name": "nothing"}' in answer.json()["detail"]

    async def test_the_list_comes_in_pages(self, client: httpx2.AsyncClient) -> None:
        for name in ("c", "a", "d", "b"):
            await client.post(BASES, json={"name": name})
        first = (await client.get(BASES, params={"limit": 3})).json()
        second = (await client.get(BASES, params={"limit": 3, "cursor": first["next_cursor"]})).json()
        assert [base["name"] for base in first["items"] + second["items"]] == ["a", "b", "c", "d"]
        assert second["next_cursor"] is None

    async def test_a_foreign_cursor_is_refused(self, client: httpx2.AsyncClient) -> None:
        answer = await client.get(BASES, params={"cursor": "bm9wZQ"})
        assert answer.status_code == 400

    async def test_what_is_known_is_not_sent_again(self, client: httpx2.AsyncClient) -> None:
        created = await client.post(BASES, json={"name": "policies"})
        unchanged = await client.get(f"{BASES}/policies", headers={"If-None-Match": created.headers["etag"]})
        assert unchanged.status_code == 304
        assert unchanged.headers["etag"] == created.headers["etag"]
