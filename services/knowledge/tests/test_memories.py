"""Memories: kept under their ids, found by meaning within their namespaces, bounded, and nobody else's."""

from __future__ import annotations

import re
from collections.abc import Callable

import httpx2
import pytest
from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.invocations import FORGET, RECALL, REMEMBER

pytestmark = pytest.mark.asyncio(loop_scope="module")

Caller = Callable[..., httpx2.AsyncClient]
CREW = "crew:answer-desk"


@pytest.fixture
def crew(caller: Caller, organization: str) -> httpx2.AsyncClient:
    return caller(organization, "memories:read", "memories:write")


async def remember(client: httpx2.AsyncClient, *texts: str, namespace: str = CREW, keep: int = 1_000) -> int:
    memories = [{"id": re.sub(r"\W", "-", text)[:20], "text": text} for text in texts]
    answer = await client.post(REMEMBER.path, json={"namespace": namespace, "memories": memories, "keep": keep})
    assert answer.status_code == 200, answer.text
    return answer.json()["held"]


async def recall(client: httpx2.AsyncClient, query: str, *namespaces: str, limit: int = 5) -> list[str]:
    body: JsonObject = {"namespaces": [*(namespaces or (CREW,))], "query": query, "limit": limit}
    answer = await client.post(RECALL.path, json=body)
    assert answer.status_code == 200, answer.text
    return [each["text"] for each in answer.json()["memories"]]


async def test_what_is_near_in_meaning_is_recalled_and_nothing_else(crew: httpx2.AsyncClient) -> None:
    await remember(crew, "The customer Hill wants invoices in Euro.", "Our office is closed on Mondays.")
    assert await recall(crew, "In which currency do we bill Hill?", limit=1) == [
        "The customer Hill wants invoices in Euro."
    ]
    assert await recall(crew, "When can one come by your office?", limit=1) == ["Our office is closed on Mondays."]
    assert await recall(crew, "Photosynthesis in alpine mosses") == []


async def test_the_same_id_is_one_memory(crew: httpx2.AsyncClient) -> None:
    memory = {"id": "m1", "text": "Cats like milk.", "trusted": True}
    for text in ("Cats like milk.", "Cats like fish."):
        body = {"namespace": CREW, "memories": [{**memory, "text": "first"}, {**memory, "text": text}]}
        assert (await crew.post(REMEMBER.path, json=body)).json() == {"held": 1}
    answer = await crew.post(RECALL.path, json={"namespaces": [CREW], "query": "what do cats like"})
    assert [(each["text"], each["trusted"]) for each in answer.json()["memories"]] == [("Cats like fish.", True)]


async def test_a_namespace_keeps_the_newest(crew: httpx2.AsyncClient) -> None:
    for number in range(5):
        await remember(crew, f"Note {number}: the pump was oiled.", keep=3)
    assert sorted(await recall(crew, "was the pump oiled", limit=10)) == [
        f"Note {number}: the pump was oiled." for number in (2, 3, 4)
    ]


async def test_namespaces_and_organizations_are_apart(crew: httpx2.AsyncClient, caller: Caller) -> None:
    await remember(crew, "The safe opens with 4711.")
    stranger = caller("org_" + "9" * 32, "memories:read", "memories:write")
    assert await recall(stranger, "how does the safe open") == []
    assert await recall(crew, "how does the safe open", "crew:other") == []
    assert await recall(crew, "how does the safe open", "crew:other", CREW) == ["The safe opens with 4711."]
    assert (await stranger.post(FORGET.path, json={"namespace": CREW})).json() == {"forgotten": 0}
    assert (await crew.post(FORGET.path, json={"namespace": CREW})).json() == {"forgotten": 1}
    assert await recall(crew, "how does the safe open") == []


async def test_what_is_below_is_forgotten_with_it_and_what_is_called_alike_is_not(crew: httpx2.AsyncClient) -> None:
    names = (CREW, f"{CREW}:usr_1", f"{CREW}-2")
    for namespace in names:
        await remember(crew, f"The safe of {namespace} opens with 4711.", namespace=namespace)
    assert (await crew.post(FORGET.path, json={"namespace": CREW})).json() == {"forgotten": 2}
    assert await recall(crew, "how does the safe open", *names) == [f"The safe of {CREW}-2 opens with 4711."]


async def test_those_of_some_runs_are_forgotten_alone(crew: httpx2.AsyncClient) -> None:
    ids = ("crun_1/a", "crun_1/b", "crun_10/a", "crun_2/a%")
    memories = [{"id": id_, "text": f"The safe opens with {id_}."} for id_ in ids]
    assert (await crew.post(REMEMBER.path, json={"namespace": CREW, "memories": memories})).json() == {"held": 4}
    asked = {"namespace": CREW, "beginnings": ["crun_1/", "crun_2/", "unknown%"]}
    assert (await crew.post(FORGET.path, json=asked)).json() == {"forgotten": 3}
    assert await recall(crew, "how does the safe open") == ["The safe opens with crun_10/a."]


@pytest.mark.parametrize(
    "body",
    [
        {"namespace": "crew", "memories": [{"id": "a", "text": "b"}]},
        {"namespace": "crew:../x", "memories": [{"id": "a", "text": "b"}]},
        {"namespace": CREW, "memories": []},
        {"namespace": CREW, "memories": [{"id": "a b", "text": "b"}]},
        {"namespace": CREW, "memories": [{"id": "a", "text": "x" * 4_001}]},
    ],
)
async def test_what_is_no_memory_is_refused(crew: httpx2.AsyncClient, body: JsonObject) -> None:
    assert (await crew.post(REMEMBER.path, json=body)).status_code == 422


async def test_text_with_nul_is_kept_without_it(crew: httpx2.AsyncClient) -> None:
    await remember(crew, "The bell\0rings at noon.")
    assert await recall(crew, "when does the bell ring\0") == ["The bell rings at noon."]


async def test_members_have_no_way_to_memories(caller: Caller, organization: str) -> None:
    member = caller(organization, "knowledge:read", "knowledge:write", "crews:run")
    for path, body in ((RECALL.path, {"namespaces": [CREW], "query": "x"}), (FORGET.path, {"namespace": CREW})):
        assert (await member.post(path, json=body)).status_code == 403
