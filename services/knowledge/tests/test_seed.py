"""A new organization finds the handbook, once, and the handbook answers questions about Crewmesh."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable

import httpx2
import pydantic
import pytest
from crewmesh_contracts.events import CloudEvent, OrganizationCreated
from crewmesh_kit.ids import new_id
from crewmesh_knowledge.seed.documents import handbook_documents
from crewmesh_knowledge.seed.subscriptions import on_organization_event
from fastapi import FastAPI

pytestmark = pytest.mark.asyncio(loop_scope="module")

DOCUMENTS = "/v1/knowledge-bases/handbook/documents"
TITLES = {document.title for document in handbook_documents()}


def created(organization: str) -> CloudEvent:
    return CloudEvent(
        id=new_id("evt"),
        source="crewmesh/gateway",
        type=OrganizationCreated.type(),
        data={"organization": organization, "name": "Acme"},
        crewmeshorg=organization,
    )


async def titles(client: httpx2.AsyncClient) -> list[str]:
    return [document["title"] for document in (await client.get(DOCUMENTS)).json()["items"]]


async def all_indexed(client: httpx2.AsyncClient) -> None:
    deadline = time.monotonic() + 300
    while any(document["status"] != "ready" for document in (await client.get(DOCUMENTS)).json()["items"]):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def test_the_handbook_is_there_for_a_new_organization(
    app: FastAPI, client: httpx2.AsyncClient, organization: str, caller: Callable[..., httpx2.AsyncClient]
) -> None:
    await on_organization_event(app.state.resources, created(organization))
    assert set(await titles(client)) == TITLES
    assert len(TITLES) >= 5
    elsewhere = caller(new_id("org"), "knowledge:read")
    assert (await elsewhere.get("/v1/knowledge-bases/handbook")).status_code == 404


async def test_the_event_comes_through_the_sidecar(client: httpx2.AsyncClient, organization: str) -> None:
    topics = (await client.get("/dapr/subscribe")).json()
    (route,) = [each["route"] for each in topics if each["topic"] == OrganizationCreated.topic]
    payload = created(organization).model_dump_json(exclude_none=True).encode()
    answer = await client.post(route, json={"data_base64": base64.b64encode(payload).decode()})
    assert answer.json() == {"status": "SUCCESS"}
    assert set(await titles(client)) == TITLES


async def test_events_that_come_again_change_nothing(
    app: FastAPI, client: httpx2.AsyncClient, organization: str
) -> None:
    event = created(organization)
    await asyncio.gather(*(on_organization_event(app.state.resources, event) for _ in range(5)))
    assert sorted(await titles(client)) == sorted(TITLES)
    await on_organization_event(app.state.resources, created(organization))
    assert sorted(await titles(client)) == sorted(TITLES)


async def test_what_was_deleted_does_not_come_back_with_the_same_event(
    app: FastAPI, client: httpx2.AsyncClient, organization: str
) -> None:
    event = created(organization)
    await on_organization_event(app.state.resources, event)
    first = (await client.get(DOCUMENTS)).json()["items"][0]["id"]
    await client.delete(f"{DOCUMENTS}/{first}")
    await on_organization_event(app.state.resources, event)
    assert len(await titles(client)) == len(TITLES) - 1


async def test_other_events_are_none_of_its_business(
    app: FastAPI, client: httpx2.AsyncClient, organization: str
) -> None:
    event = created(organization).model_copy(update={"type": "crewmesh.organization.renamed.v1"})
    await on_organization_event(app.state.resources, event)
    assert (await client.get("/v1/knowledge-bases")).json()["items"] == []


async def test_an_event_of_the_wrong_shape_is_refused(app: FastAPI, organization: str) -> None:
    event = created(organization).model_copy(update={"data": {"organization": "acme"}})
    with pytest.raises(pydantic.ValidationError):
        await on_organization_event(app.state.resources, event)


QUESTIONS = {
    "What is Crewmesh?": "What Crewmesh is",
    "How do I stop my agents from spending too much money?": "Budgets",
    "What happens when a server crashes?": "Durable runs",
    "What does the system do if the power goes out mid-task?": "Durable runs",
    "Can a manager sign off before an email goes to a client?": "Governance",
    "Is my data visible to other customers?": "Governance",
    "How can I kick off a flow every morning?": "Triggers",
    "Which LLM vendors can I use?": "Agents",
    "How do I upload my own files so answers use them?": "Agents",
}


async def test_the_handbook_answers_paraphrased_questions(
    app: FastAPI, client: httpx2.AsyncClient, organization: str
) -> None:
    await on_organization_event(app.state.resources, created(organization))
    await all_indexed(client)
    firsts: dict[str, str] = {}
    for question in QUESTIONS:
        answer = await client.post("/v1/knowledge-bases/handbook/search", json={"query": question})
        firsts[question] = answer.json()["hits"][0]["title"]
    wrong = {question: first for question, first in firsts.items() if not first.startswith(QUESTIONS[question])}
    assert wrong == {}
