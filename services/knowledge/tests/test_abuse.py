"""Inputs that broke others: each is refused with a problem that says what to do, or kept verbatim."""

from __future__ import annotations

import httpx2
import pytest
import pytest_asyncio
from crewmesh_contracts.base import JsonValue

pytestmark = pytest.mark.asyncio(loop_scope="module")

BASES = "/v1/knowledge-bases"
DOCUMENTS = f"{BASES}/policies/documents"
QUESTIONS = f"{BASES}/policies/search"
VERBATIM = [
    "{{7*7}}",
    "''.__class__.__mro__",
    "${7*7} `id` <script>alert(1)</script>",
    "__proto__",
    "\u202egnp.exe",
    "C:\\temp\\x' OR 1=1 --",
]


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def base(client: httpx2.AsyncClient) -> None:
    await client.post(BASES, json={"name": "policies"})


@pytest.mark.parametrize("text", VERBATIM)
async def test_text_comes_back_verbatim(client: httpx2.AsyncClient, text: str) -> None:
    added = await client.post(DOCUMENTS, json={"title": text, "text": text})
    assert (added.status_code, added.json()["title"]) == (201, text)
    hit = (await client.post(QUESTIONS, json={"query": text})).json()["hits"][0]
    assert (hit["title"], hit["text"]) == (text, text)
    described = await client.post(BASES, json={"name": "described", "description": text})
    assert described.json()["description"] == text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (BASES, {"name": "x" * 10_000}),
        (BASES, {"name": "{{7*7}}"}),
        (BASES, {"name": "../etc"}),
        (BASES, {"name": "With Space"}),
        (BASES, {"name": ""}),
        (BASES, {"name": "ok", "description": "x" * 10_000}),
        (BASES, {"name": "ok", "description": "nul\0"}),
        (BASES, {"name": {"$ne": None}}),
        (BASES, {"name": "ok", "colour": "blue"}),
        (BASES, {}),
        (BASES, ["name"]),
        (BASES, None),
        (DOCUMENTS, {"title": "", "text": "x"}),
        (DOCUMENTS, {"title": "x", "text": ""}),
        (DOCUMENTS, {"title": "x", "text": " \n\t "}),
        (DOCUMENTS, {"title": "x", "text": "nul\0"}),
        (DOCUMENTS, {"title": "x" * 10_000, "text": "x"}),
        (DOCUMENTS, {"title": "x", "text": "x" * 1_000_001}),
        (DOCUMENTS, {"title": "x", "text": "学" * 400_000}),
        (DOCUMENTS, {"title": "x", "text": 7}),
        (DOCUMENTS, {"title": ["x"], "text": "x"}),
        (DOCUMENTS, {"title": "x", "text": "x", "id": "doc_1"}),
        (QUESTIONS, {"query": ""}),
        (QUESTIONS, {"query": "  "}),
        (QUESTIONS, {"query": "x" * 10_000}),
        (QUESTIONS, {"query": {"a": 1}}),
        (QUESTIONS, {"query": "x", "limit": 0}),
        (QUESTIONS, {"query": "x", "limit": 51}),
        (QUESTIONS, {"query": "x", "limit": "many"}),
        (QUESTIONS, {"query": "x", "knowledge_base": "others"}),
        ("/internal/search", {"knowledge_base": "policies", "query": " \0 "}),
        ("/internal/search", {"knowledge_base": "../policies", "query": "x"}),
    ],
)
async def test_a_wrong_shape_is_a_422_that_names_the_place(
    client: httpx2.AsyncClient, path: str, body: JsonValue
) -> None:
    answer = await client.post(path, json=body)
    assert answer.status_code == 422, answer.text
    problem = answer.json()
    assert problem["type"].endswith("/validation-failed")
    assert len(problem["detail"]) < 600
    assert len(answer.content) < 5_000, "what was sent is not sent back"


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b'{"name": "x"', b'{"name": "\\ud800"}', b"null"])
async def test_what_is_not_json_is_refused(client: httpx2.AsyncClient, body: bytes) -> None:
    answer = await client.post(BASES, content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (DOCUMENTS, b'{"title": "\\ud800", "text": "x"}'),
        (DOCUMENTS, b'{"title": "x", "text": "half a \\udc00 character"}'),
        (BASES, b'{"name": "ok", "description": "\\udfff"}'),
        (QUESTIONS, b'{"query": "\\ud800 what"}'),
        ("/internal/search", b'{"knowledge_base": "policies", "query": "\\ud800 what"}'),
    ],
)
async def test_half_a_character_is_refused(client: httpx2.AsyncClient, path: str, body: bytes) -> None:
    answer = await client.post(path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422, answer.text


async def test_a_form_is_not_json(client: httpx2.AsyncClient) -> None:
    answer = await client.post(BASES, data={"name": "x"})
    assert answer.status_code == 415


async def test_ten_megabytes_are_refused(client: httpx2.AsyncClient) -> None:
    answer = await client.post(DOCUMENTS, json={"title": "x", "text": "x" * 10_000_000})
    assert answer.status_code == 413


@pytest.mark.parametrize("name", ["..%2f..%2fetc", "%00", "x" * 10_000, "{{7*7}}", "__proto__", "A"])
async def test_what_cannot_be_a_name_is_refused(client: httpx2.AsyncClient, name: str) -> None:
    answer = await client.get(f"{BASES}/{name}")
    assert answer.status_code in (400, 404)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("document", ["doc_1", "%00", "x" * 10_000, "doc_" + "g" * 32])
async def test_what_cannot_be_an_id_is_refused(client: httpx2.AsyncClient, document: str) -> None:
    answer = await client.get(f"{DOCUMENTS}/{document}")
    assert answer.status_code == 400


async def test_a_key_that_is_no_key_is_refused(client: httpx2.AsyncClient) -> None:
    answer = await client.post(BASES, json={"name": "x"}, headers={"Idempotency-Key": "x" * 256})
    assert answer.status_code == 400
