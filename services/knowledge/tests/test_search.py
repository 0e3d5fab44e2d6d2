"""Search finds what answers a question, by meaning and by words."""

from __future__ import annotations

import httpx2
import pytest
import pytest_asyncio
from crewmesh_contracts.invocations import SEARCH, SearchRequest, SearchResult

pytestmark = pytest.mark.asyncio(loop_scope="module")

SEARCH_POLICIES = "/v1/knowledge-bases/policies/search"
POLICIES = {
    "Holidays": "Everybody has thirty days of paid leave in a year. Ask your lead two weeks before.",
    "Laptops": "A broken or stolen computer is reported to the service desk, which lends a replacement the same day.",
    "Expenses": "Travel costs are paid back within ten days when the receipts are handed in. Form F-4711 is used.",
    "Parking": "The garage opens at six in the morning. Visitors leave their cars on the second level.",
    "Meals": "The canteen serves vegetarian dishes every day, and fish on Fridays.",
}


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def policies(client: httpx2.AsyncClient) -> None:
    await client.post("/v1/knowledge-bases", json={"name": "policies"})
    for title, text in POLICIES.items():
        added = await client.post("/v1/knowledge-bases/policies/documents", json={"title": title, "text": text})
        assert added.json()["status"] == "ready"


async def found(client: httpx2.AsyncClient, query: str, limit: int = 4) -> list[str]:
    answer = await client.post(SEARCH_POLICIES, json={"query": query, "limit": limit})
    assert answer.status_code == 200, answer.text
    return [hit.title for hit in SearchResult.model_validate(answer.json()).hits]


@pytest.mark.parametrize(
    ("question", "title"),
    [
        ("How much vacation do I get?", "Holidays"),
        ("My notebook does not start any more, what now?", "Laptops"),
        ("When do I get my money for the train ticket?", "Expenses"),
        ("Where can a guest put an automobile?", "Parking"),
        ("What can I eat at lunch without meat?", "Meals"),
    ],
)
async def test_a_paraphrased_question_finds_its_document(client: httpx2.AsyncClient, question: str, title: str) -> None:
    assert (await found(client, question))[0] == title


async def test_a_word_that_only_one_document_has_finds_it(client: httpx2.AsyncClient) -> None:
    assert (await found(client, "F-4711"))[0] == "Expenses"


async def test_the_limit_is_kept_and_the_best_is_first(client: httpx2.AsyncClient) -> None:
    answer = (await client.post(SEARCH_POLICIES, json={"query": "vegetarian dishes", "limit": 2})).json()
    scores = [hit["score"] for hit in answer["hits"]]
    assert len(scores) == 2
    assert scores == sorted(scores, reverse=True)
    assert 0 < scores[0] <= 1
    assert answer["hits"][0]["text"] == POLICIES["Meals"]
    assert answer["hits"][0]["position"] == 0


async def test_services_ask_by_the_contract(client: httpx2.AsyncClient) -> None:
    request = SearchRequest(knowledge_base="policies", query="How much vacation do I get?")
    answer = await client.post(SEARCH.path, json=request.model_dump(mode="json"))
    result = SEARCH.result.model_validate(answer.json())
    assert result.hits[0].title == "Holidays"
    assert result.hits[0].document.startswith("doc_")


async def test_an_empty_base_has_no_answer(client: httpx2.AsyncClient) -> None:
    await client.post("/v1/knowledge-bases", json={"name": "empty"})
    answer = await client.post("/v1/knowledge-bases/empty/search", json={"query": "anything"})
    assert answer.json() == {"hits": []}


@pytest.mark.parametrize("path", [SEARCH.path, "/v1/knowledge-bases/nothing/search"])
async def test_an_unknown_base_says_how_to_make_one(client: httpx2.AsyncClient, path: str) -> None:
    body = {"query": "anything"} | ({"knowledge_base": "nothing"} if path == SEARCH.path else {})
    answer = await client.post(path, json=body)
    assert answer.status_code == 404
    assert "POST /v1/knowledge-bases" in answer.json()["detail"]


@pytest.mark.parametrize(
    "query",
    [
        "'; DROP TABLE chunks; --",
        "O'Brien & | ! ( <-> :* \\ \\' C:\\temp\\new",
        "{{7*7}}",
        "the of and",
        "https://example.com/a?b='c'&d=\\e",
        "word " * 800,
        "🦜" * 1_000,
        "学习",
    ],
)
async def test_any_text_is_a_question(client: httpx2.AsyncClient, query: str) -> None:
    assert len(await found(client, query)) == 4
