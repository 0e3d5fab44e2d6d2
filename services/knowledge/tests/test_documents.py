"""Documents over HTTP: taken in, indexed in the background, listed, deleted."""

from __future__ import annotations

import asyncio
import time

import httpx2
import pytest
import pytest_asyncio
from crewmesh_contracts.base import JsonObject

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOCUMENTS = "/v1/knowledge-bases/policies/documents"
HOLIDAYS = {"title": "Holidays", "text": "Everybody has thirty days of paid leave in a year."}


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def base(client: httpx2.AsyncClient) -> None:
    await client.post("/v1/knowledge-bases", json={"name": "policies"})


async def indexed(client: httpx2.AsyncClient, document: str) -> JsonObject:
    deadline = time.monotonic() + 300
    while True:
        answer: JsonObject = (await client.get(f"{DOCUMENTS}/{document}")).json()
        if answer["status"] == "ready":
            return answer
        assert time.monotonic() < deadline, answer
        await asyncio.sleep(0.05)


class TestAdding:
    async def test_a_small_document_is_ready_at_once(self, client: httpx2.AsyncClient) -> None:
        added = await client.post(DOCUMENTS, json=HOLIDAYS)
        assert added.status_code == 201
        document = added.json()
        assert (document["status"], document["chunks"], document["indexed_chunks"]) == ("ready", 1, 1)
        assert document["characters"] == len(HOLIDAYS["text"])
        assert added.headers["location"] == f"{DOCUMENTS}/{document['id']}"

    async def test_a_large_document_is_indexed_in_the_background(self, client: httpx2.AsyncClient) -> None:
        text = "\n\n".join(f"Rule {number}. {'Be kind to one another. ' * 4}" for number in range(80))
        added = (await client.post(DOCUMENTS, json={"title": "Rules", "text": text})).json()
        assert added["chunks"] > 8
        assert added["status"] == "indexing"
        # A small one does not wait for the end of the large one.
        small = (await client.post(DOCUMENTS, json=HOLIDAYS)).json()
        assert small["status"] == "ready"
        assert (await indexed(client, added["id"]))["indexed_chunks"] == added["chunks"]

    async def test_the_same_text_is_kept_once(self, client: httpx2.AsyncClient) -> None:
        first = await client.post(DOCUMENTS, json=HOLIDAYS)
        again = await client.post(DOCUMENTS, json={**HOLIDAYS, "title": "Leave"})
        assert again.json()["id"] == first.json()["id"]
        assert len((await client.get(DOCUMENTS)).json()["items"]) == 1

    async def test_the_same_key_adds_once_however_many_ask_at_a_time(self, client: httpx2.AsyncClient) -> None:
        headers = {"Idempotency-Key": "add-holidays"}
        answers = await asyncio.gather(*(client.post(DOCUMENTS, json=HOLIDAYS, headers=headers) for _ in range(50)))
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.json()["id"] for answer in answers}) == 1
        other = await client.post(DOCUMENTS, json={"title": "Other", "text": "Other."}, headers=headers)
        assert other.status_code == 422

    async def test_without_a_base_the_answer_says_how_to_make_one(self, client: httpx2.AsyncClient) -> None:
        answer = await client.post("/v1/knowledge-bases/nothing/documents", json=HOLIDAYS)
        assert answer.status_code == 404
        assert "POST /v1/knowledge-bases" in answer.json()["detail"]


class TestReading:
    async def test_the_list_comes_in_pages_oldest_first(self, client: httpx2.AsyncClient) -> None:
        for number in range(5):
            await client.post(DOCUMENTS, json={"title": f"Document {number}", "text": f"Text number {number}."})
        titles: list[str] = []
        cursor: str | None = None
        while True:
            parameters = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
            page = (await client.get(DOCUMENTS, params=parameters)).json()
            titles += [document["title"] for document in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        assert titles == [f"Document {number}" for number in range(5)]

    async def test_what_is_known_is_not_sent_again(self, client: httpx2.AsyncClient) -> None:
        added = await client.post(DOCUMENTS, json=HOLIDAYS)
        known = {"If-None-Match": added.headers["etag"]}
        assert (await client.get(added.headers["location"], headers=known)).status_code == 304


class TestDeleting:
    async def test_a_deleted_document_is_found_no_more(self, client: httpx2.AsyncClient) -> None:
        added = await client.post(DOCUMENTS, json=HOLIDAYS)
        search = "/v1/knowledge-bases/policies/search"
        assert len((await client.post(search, json={"query": "vacation"})).json()["hits"]) == 1
        assert (await client.delete(added.headers["location"])).status_code == 204
        assert (await client.post(search, json={"query": "vacation"})).json()["hits"] == []
        gone = await client.delete(added.headers["location"])
        assert gone.status_code == 404
        assert gone.json()["type"].endswith("/unknown-document")

    async def test_a_document_of_another_base_is_not_touched(self, client: httpx2.AsyncClient) -> None:
        await client.post("/v1/knowledge-bases", json={"name": "others"})
        added = (await client.post(DOCUMENTS, json=HOLIDAYS)).json()
        assert (await client.delete(f"/v1/knowledge-bases/others/documents/{added['id']}")).status_code == 404
        assert (await client.get(f"{DOCUMENTS}/{added['id']}")).status_code == 200
