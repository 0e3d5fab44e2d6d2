"""Exports of everything an organization owns, and for how long it wants its data kept."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Sequence
from typing import cast

import httpx2
import pytest
from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.events import CloudEvent, RetentionChanged
from crewmesh_contracts.invocations.owned_data import (
    EXPORT,
    KEEPERS,
    RETENTION_KINDS,
    WOULD_FORGET,
    ExportedRow,
    ExportPage,
    ExportRequest,
    RetentionAnswer,
    RetentionQuestion,
)
from crewmesh_gateway.exports.gatherer import Gatherer
from crewmesh_gateway.main import create_app
from crewmesh_gateway.settings import ExportSettings, Settings
from crewmesh_kit.errors import BadGateway, Unavailable
from crewmesh_testkit import FakeSidecar, running
from fastapi import FastAPI

from .gateway import BEARER, KEY, until
from .inside import change, held


@pytest.fixture(autouse=True)
def pauses_end_when_a_test_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crewmesh_gateway.exports.gatherer._PAUSE_SECONDS", 3600.0)


class Services:
    """All services, each with some rows in pages of one; ``failures`` come first, whoever is asked."""

    def __init__(self, sidecar: FakeSidecar, *, rows: int = 3) -> None:
        self.asked: list[tuple[str, str | None]] = []
        self.failures: list[Exception] = []
        self.rows = rows
        for app in KEEPERS:
            sidecar.answer(EXPORT[app], self._pages_of(app))

    def _pages_of(self, app: str):
        async def page(request: ExportRequest) -> ExportPage:
            self.asked.append((app, request.cursor))
            if self.failures:
                raise self.failures.pop(0)
            number = int(request.cursor or 0)
            row = ExportedRow(table="things", row={"number": number, "of": app})
            more = number + 1 < self.rows
            return ExportPage(rows=(row,), cursor=str(number + 1) if more else None)

        return page


async def until_over(client: httpx2.AsyncClient, export: str, *ends: str) -> JsonObject:
    found: JsonObject = {}

    async def over() -> bool:
        found.update((await client.get(f"/v1/exports/{export}", headers=BEARER)).json())
        return found["status"] in ends

    await until(over)
    return found


async def until_it_pauses(client: httpx2.AsyncClient, export: str) -> None:
    async def pausing() -> bool:
        return (await client.get(f"/v1/exports/{export}", headers=BEARER)).json()["error"] is not None

    await until(pausing)


def lines(file: bytes) -> list[JsonObject]:
    return [cast(JsonObject, json.loads(line)) for line in gzip.decompress(file).splitlines()]


def of(service: str, found: Sequence[JsonObject]) -> list[JsonObject]:
    return [cast(JsonObject, line["row"]) for line in found if line["service"] == service]


async def requested(client: httpx2.AsyncClient) -> str:
    answer = await client.post("/v1/exports", headers=BEARER)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/v1/exports/{answer.json()['id']}"
    return answer.json()["id"]


async def test_everything_is_in_one_file_and_no_secret(app: FastAPI, sidecar: FakeSidecar) -> None:
    Services(sidecar)
    async with running(app) as client:
        export = await requested(client)
        done = await until_over(client, export, "done")
        answer = await client.get(f"/v1/exports/{export}/file", headers=BEARER)
    found = lines(answer.content)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/gzip")
    assert f'filename="{export}.jsonl.gz"' in answer.headers["content-disposition"]
    for service in KEEPERS:
        assert of(service, found) == [{"number": number, "of": service} for number in range(3)]
    assert {str(line["table"]) for line in found if line["service"] == "gateway"} >= {
        "api_keys",
        "memberships",
    }
    assert (done["rows"], done["bytes"], done["service"]) == (len(found), len(answer.content), None)
    assert KEY.text not in str(found)
    assert KEY.digest().hex() not in str(found)


async def test_what_fails_for_a_while_is_gone_on_with(app: FastAPI, sidecar: FakeSidecar) -> None:
    services = Services(sidecar)
    services.failures = [Unavailable("It restarts.")]
    async with running(app) as client:
        export = await requested(client)
        await until_it_pauses(client, export)
        await change(app, "UPDATE exports SET due_at = now()")
        held(app, Gatherer).nudge()
        await until_over(client, export, "done")
        found = lines((await client.get(f"/v1/exports/{export}/file", headers=BEARER)).content)
    assert [row["number"] for row in of(KEEPERS[0], found)] == [0, 1, 2]


async def test_what_fails_for_good_says_so(app: FastAPI, sidecar: FakeSidecar) -> None:
    Services(sidecar).failures = [BadGateway("The mesh does not let us.")]
    async with running(app) as client:
        export = await requested(client)
        failed = await until_over(client, export, "failed")
        file = await client.get(f"/v1/exports/{export}/file", headers=BEARER)
    assert failed["error"] == "The mesh does not let us."
    assert (file.status_code, file.json()["type"].rsplit("/", 1)[1]) == (409, "export-not-ready")


async def test_another_replica_goes_on_behind_the_last_page(settings: Settings, sidecar: FakeSidecar) -> None:
    services = Services(sidecar, rows=2)
    stopped = asyncio.Event()
    original = sidecar.blobs.put

    async def put(payload: bytes) -> str:
        if len(services.asked) == 2:
            stopped.set()
            await asyncio.Event().wait()  # the first replica dies here
        return await original(payload)

    sidecar.blobs.put = put
    async with running(create_app(settings, sidecar)) as client:
        export = await requested(client)
        await asyncio.wait_for(stopped.wait(), 60)
    sidecar.blobs.put = original
    app = create_app(settings, sidecar)
    async with running(app) as client:
        await change(app, "UPDATE exports SET due_at = now()")
        held(app, Gatherer).nudge()
        await until_over(client, export, "done")
        found = lines((await client.get(f"/v1/exports/{export}/file", headers=BEARER)).content)
    assert [row["number"] for row in of(KEEPERS[0], found)] == [0, 1]
    assert services.asked[:3] == [(KEEPERS[0], None), (KEEPERS[0], "1"), (KEEPERS[0], "1")]


async def test_one_at_a_time_and_it_can_be_deleted(app: FastAPI, sidecar: FakeSidecar) -> None:
    services = Services(sidecar)
    services.failures = [Unavailable("It restarts.")] * 100
    async with running(app) as client:
        export = await requested(client)
        await until_it_pauses(client, export)
        second = await client.post("/v1/exports", headers=BEARER)
        assert (second.status_code, second.json()["export"]) == (409, export)
        assert (await client.delete(f"/v1/exports/{export}", headers=BEARER)).status_code == 204
        assert (await client.delete(f"/v1/exports/{export}", headers=BEARER)).status_code == 404
        services.failures = []
        again = await requested(client)
        await until_over(client, again, "done")
        assert [each["id"] for each in (await client.get("/v1/exports", headers=BEARER)).json()["items"]] == [again]
        assert sidecar.blobs.payloads
        assert (await client.delete(f"/v1/exports/{again}", headers=BEARER)).status_code == 204
    assert sidecar.blobs.payloads == {}, "the file goes with the export"


async def test_a_part_that_is_written_while_its_export_is_deleted_goes_too(app: FastAPI, sidecar: FakeSidecar) -> None:
    Services(sidecar)
    writing, deleted = asyncio.Event(), asyncio.Event()
    original = sidecar.blobs.put

    async def put(payload: bytes) -> str:
        reference = await original(payload)
        writing.set()
        await deleted.wait()
        return reference

    sidecar.blobs.put = put
    async with running(app) as client:
        export = await requested(client)
        await asyncio.wait_for(writing.wait(), 60)
        assert (await client.delete(f"/v1/exports/{export}", headers=BEARER)).status_code == 204
        assert sidecar.blobs.payloads, "nobody else knows of it"
        deleted.set()
        await until(lambda: not sidecar.blobs.payloads)


async def test_an_export_of_the_same_data_has_a_file_of_its_own(app: FastAPI, sidecar: FakeSidecar) -> None:
    Services(sidecar)
    async with running(app) as client:
        one, other = [await whole(client) for _ in range(2)]
        assert (await client.delete(f"/v1/exports/{one}", headers=BEARER)).status_code == 204
        kept = await client.get(f"/v1/exports/{other}/file", headers=BEARER)
    for service in KEEPERS:
        assert len(of(service, lines(kept.content))) == 3


async def whole(client: httpx2.AsyncClient) -> str:
    export = await requested(client)
    await until_over(client, export, "done")
    return export


async def test_the_file_is_deleted_when_it_expires(settings: Settings, sidecar: FakeSidecar) -> None:
    Services(sidecar)
    settings = settings.model_copy(update={"exports": ExportSettings(keep_days=1e-6, poll_seconds=0.05)})
    async with running(create_app(settings, sidecar)) as client:
        await until_over(client, await requested(client), "expired")
        await until(lambda: not sidecar.blobs.payloads)


async def test_policies_are_shown_changed_and_told(app: FastAPI, sidecar: FakeSidecar) -> None:
    def changes() -> list[CloudEvent]:
        return [each for each in sidecar.published_on(RetentionChanged.topic) if each.type == RetentionChanged.type()]

    async with running(app) as client:
        before = (await client.get("/v1/retention", headers=BEARER)).json()["items"]
        assert {each["kind"]: each["days"] for each in before} == dict.fromkeys(RETENTION_KINDS)
        changed = await client.put("/v1/retention/runs", headers=BEARER, json={"days": 30})
        assert (changed.status_code, changed.json()["days"]) == (200, 30)
        await client.put("/v1/retention/runs", headers=BEARER, json={"days": 30})
        after = (await client.get("/v1/retention", headers=BEARER)).json()["items"]
        assert next(each["days"] for each in after if each["kind"] == "runs") == 30
        for body in ({"days": 0}, {"days": "many"}, {}, {"days": 1, "kind": "runs"}):
            assert (await client.put("/v1/retention/runs", headers=BEARER, json=body)).status_code == 422
        unknown = await client.put("/v1/retention/films", headers=BEARER, json={"days": 1})
        assert (unknown.status_code, "runs" in unknown.json()["detail"]) == (404, True)
        await until(lambda: bool(changes()))
    told = [each.data for each in changes()]
    assert [cast(JsonObject, each)["days"] for each in told] == [30], "a change that changes nothing is not told"


async def test_a_preview_asks_the_service_that_has_the_data(app: FastAPI, sidecar: FakeSidecar) -> None:
    async def count(question: RetentionQuestion) -> RetentionAnswer:
        assert (question.kind, question.days) == ("deliveries", 7)
        return RetentionAnswer(count=42)

    sidecar.answer(WOULD_FORGET["integration"], count)
    async with running(app) as client:
        answer = await client.post("/v1/retention/preview", headers=BEARER, json={"kind": "deliveries", "days": 7})
    assert answer.json() == {"kind": "deliveries", "days": 7, "count": 42}


@pytest.mark.parametrize("path", ["/v1/exports", "/v1/retention"])
async def test_strangers_get_nothing(app: FastAPI, path: str) -> None:
    async with running(app) as client:
        assert (await client.get(path)).status_code == 401
