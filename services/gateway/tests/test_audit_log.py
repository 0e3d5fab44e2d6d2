"""The log over HTTP: what arrives on the topic is listed, found, exported and verified, by who may and of one's own."""

from __future__ import annotations

import asyncio
import base64
import csv
import io
from datetime import timedelta

import httpx2
import pytest
from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.events import AuditRecorded, OrganizationCreated
from crewmesh_gateway.audit.service import AuditLog
from crewmesh_gateway.audit.writing import Gathering
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.outbox import cloud_event
from crewmesh_kit.errors import Unavailable
from crewmesh_testkit import FakeSidecar
from fastapi import FastAPI

from .audit_log import HAPPENED, deliver, event
from .gateway import BEARER, key_of
from .inside import held

VIEWER = key_of("viewerkey", "v" * 32)
AUDITOR_ELSEWHERE = key_of("elsewhere", "e" * 32)
OTHER = "org_" + "0" * 31 + "9"


async def own(client: httpx2.AsyncClient) -> str:
    return (await client.get("/v1/me", headers=BEARER)).json()["organization"]["id"]


async def page(client: httpx2.AsyncClient, **query: str | int) -> list[JsonObject]:
    answer = await client.get("/v1/audit-events", params=query, headers=BEARER)
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


async def elsewhere(app: FastAPI) -> None:
    """Another organization with an admin, and a viewer in the first one."""
    async with held(app, Database).system() as conn:
        await conn.execute("INSERT INTO organizations (id, name) VALUES (%s, 'Other')", [OTHER])
        await conn.execute("INSERT INTO users (id, name) VALUES ('usr_9', 'Admin'), ('usr_8', 'Viewer')")
        await conn.execute("INSERT INTO memberships (org_id, user_id, role) VALUES (%s, 'usr_9', 'admin')", [OTHER])
        await conn.execute(
            "INSERT INTO memberships (org_id, user_id, role) SELECT id, 'usr_8', 'viewer' FROM organizations"
            " WHERE id <> %s",
            [OTHER],
        )
        for user, key in (("usr_9", AUDITOR_ELSEWHERE), ("usr_8", VIEWER)):
            await conn.execute(
                "INSERT INTO api_keys (id, org_id, user_id, name, prefix, secret_sha256, permissions)"
                " SELECT 'key_' || user_id, org_id, user_id, 'k', %s, %s, '{*}' FROM memberships WHERE user_id = %s",
                [key.prefix, key.digest(), user],
            )


async def test_what_is_published_becomes_a_line_once(client: httpx2.AsyncClient) -> None:
    recorded = event(organization=await own(client), before={"a": 1}, after={"a": 2}, acting_for="usr_2")
    assert [await deliver(client, recorded) for _ in range(3)] == ["SUCCESS"] * 3
    (line,) = await page(client, action="workflow.published")
    assert {name: line[name] for name in ("id", "actor", "acting_for", "resource", "outcome", "before", "after")} == {
        "id": recorded.id,
        "actor": "usr_1",
        "acting_for": "usr_2",
        "resource": "wf_1",
        "outcome": "done",
        "before": {"a": 1},
        "after": {"a": 2},
    }
    answer = await client.get(f"/v1/audit-events/{recorded.id}", headers=BEARER)
    assert answer.json() == line
    unknown = await client.get("/v1/audit-events/aud_x", headers=BEARER)
    assert (unknown.status_code, unknown.json()["type"].rsplit("/")[-1]) == (404, "unknown-audit-event")


async def test_a_burst_is_added_in_few_transactions_and_completely(app: FastAPI, client: httpx2.AsyncClient) -> None:
    organization = await own(client)
    log = held(app, AuditLog)
    before = (await log.verify(organization)).seq
    events = [event(resource=f"wf_{number}", organization=organization) for number in range(100)]
    verdicts = await asyncio.gather(*(deliver(client, each) for each in events))
    assert set(verdicts) == {"SUCCESS"}
    verified = await log.verify(organization)
    assert (verified.ok, verified.seq) == (True, before + 100)
    async with held(app, Database).tenant(organization) as conn:
        cursor = await conn.execute("SELECT count(DISTINCT received_at) AS n FROM audit_events")
        row = await cursor.fetchone()
    assert row is not None
    assert row["n"] < 60


async def test_what_cannot_be_a_line_goes_to_the_dead_letters_and_holds_nobody_up(
    client: httpx2.AsyncClient, sidecar: FakeSidecar
) -> None:
    organization = await own(client)
    good = event(organization=organization)
    nul = event(organization=organization, resource="wf_\0")
    foreign = cloud_event(event(), app_id="x").model_copy(update={"crewmeshorg": organization})
    other_kind = cloud_event(OrganizationCreated(organization=organization, name="x"), app_id="x")
    verdicts = await asyncio.gather(deliver(client, good), deliver(client, nul), deliver(client, good))
    assert set(verdicts) == {"SUCCESS"}
    for envelope in (foreign, other_kind):
        payload = base64.b64encode(envelope.model_dump_json(exclude_none=True).encode()).decode()
        answer = await client.post("/subscriptions/audit", json={"data_base64": payload})
        assert answer.json()["status"] == "SUCCESS"
    assert [line["id"] for line in await page(client, action="workflow.")] == [good.id]
    assert len(sidecar.published_on("audit.dead")) == 3


async def test_while_the_database_is_away_lines_are_tried_again(
    app: FastAPI, client: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = event(organization=await own(client))

    async def away(self: AuditLog, organization: str, events: object) -> int:
        raise Unavailable("away")

    with monkeypatch.context() as patched:
        patched.setattr(held(app, Gathering), "_append", away.__get__(held(app, AuditLog)))
        assert await deliver(client, recorded) == "RETRY"
    assert await deliver(client, recorded) == "SUCCESS"
    assert len(await page(client, action="workflow.")) == 1


async def test_filters_narrow_down_and_pages_follow_each_other(client: httpx2.AsyncClient) -> None:
    organization = await own(client)
    lines = [
        event("workflow.created", "wf_1", organization=organization, actor="usr_a", at=HAPPENED),
        event("workflow.paused", "wf_2", organization=organization, actor="key_b", acting_for="usr_a"),
        event("crew.created", "crew_1", organization=organization, actor="usr_b", after={"name": "Müller 100%"}),
        event("request.denied", "/v1/x", organization=organization, actor="usr_b", outcome="denied"),
        event("workflow-x.odd", "wf_3", organization=organization, at=HAPPENED + timedelta(hours=2)),
    ]
    for line in lines:
        await deliver(client, line)
    ids = [line.id for line in lines]

    async def found(**query: str) -> list[int]:
        return [ids.index(str(line["id"])) for line in await page(client, **query) if line["id"] in ids]

    assert await found() == [4, 3, 2, 1, 0]
    assert await found(actor="usr_a") == [1, 0]
    assert await found(action="workflow.") == [1, 0]
    assert await found(action="workflow.paused") == [1]
    assert await found(action="workflow") == []
    assert await found(resource="crew_1") == [2]
    assert await found(outcome="denied") == [3]
    assert await found(q="MÜLLER 100%") == [2]
    assert await found(q="%%") == []
    assert await found(**{"from": "2026-11-01T13:00:00Z", "to": "2026-11-01T15:00:00+01:00"}) == []
    assert await found(**{"from": "2026-11-01T13:00:00Z", "to": "2026-11-01T16:00:00+01:00"}) == [4]
    assert await found(actor="usr_a", action="workflow.", q="wf_2") == [1]

    first = (await client.get("/v1/audit-events", params={"limit": 2}, headers=BEARER)).json()
    second = (
        await client.get("/v1/audit-events", params={"limit": 2, "cursor": first["next_cursor"]}, headers=BEARER)
    ).json()
    assert [ids.index(line["id"]) for line in first["items"] + second["items"]] == [4, 3, 2, 1]


@pytest.mark.parametrize(
    "query",
    [
        {"from": "2026-11-01T13:00:00"},
        {"from": "yesterday"},
        {"outcome": "maybe"},
        {"q": "x"},
        {"cursor": "bm9uc2Vuc2U"},
        {"actor": "\0x"},
        {"limit": "0"},
    ],
)
async def test_filters_that_make_no_sense_are_refused(client: httpx2.AsyncClient, query: dict[str, str]) -> None:
    for path in ("/v1/audit-events", "/v1/audit-events/export"):
        if path.endswith("export") and query.keys() & {"cursor", "limit", "actor"}:
            continue
        answer = await client.get(path, params=query, headers=BEARER)
        assert answer.status_code == 400, answer.text


async def test_the_log_is_read_by_who_may_and_only_ones_own(app: FastAPI, client: httpx2.AsyncClient) -> None:
    await elsewhere(app)
    recorded = event(organization=await own(client), resource="wf_secret")
    await deliver(client, recorded)
    paths = ("", f"/{recorded.id}", "/export?format=csv", "/export")
    for path in paths:
        assert (await client.get(f"/v1/audit-events{path}")).status_code == 401
        refused = await client.get(f"/v1/audit-events{path}", headers={"x-api-key": VIEWER.text})
        assert (refused.status_code, refused.json()["permission"]) == (403, "audit:read")
        foreign = await client.get(f"/v1/audit-events{path}", headers={"x-api-key": AUDITOR_ELSEWHERE.text})
        assert "wf_secret" not in foreign.text
        assert foreign.status_code == (404 if path.startswith("/aud") else 200)
    verified = await client.post("/v1/audit-events/verify", headers={"x-api-key": AUDITOR_ELSEWHERE.text})
    assert verified.json()["checked"] == 0
    assert (await client.post("/v1/audit-events/verify", headers=BEARER)).json()["ok"] is True


async def test_the_export_is_a_file_that_a_spreadsheet_may_open(client: httpx2.AsyncClient) -> None:
    organization = await own(client)
    formulas = ['=HYPERLINK("http://x")', "+1", "-1", "@x", "\t=1", 'plain, with "quotes"']
    for formula in formulas:
        await deliver(client, event("crew.created", formula, organization=organization, after={"n": 1}))
    answer = await client.get("/v1/audit-events/export?format=csv&action=crew.", headers=BEARER)
    assert answer.headers["content-type"].startswith("text/csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="audit-events.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert [row["resource"] for row in rows] == [f"'{each}" for each in formulas[:5]] + formulas[5:]
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())
    assert rows[0]["after"] == '{"n":1}'


async def test_a_long_log_is_exported_page_by_page_and_completely(app: FastAPI, client: httpx2.AsyncClient) -> None:
    organization = await own(client)
    log = held(app, AuditLog)
    await log.append(organization, [event("x.done", f"x_{n}", organization=organization) for n in range(1203)])
    answer = await client.get("/v1/audit-events/export?action=x.", headers=BEARER)
    lines = answer.json()
    assert [line["resource"] for line in lines] == [f"x_{n}" for n in range(1203)]
    assert AuditRecorded.model_fields.keys() - {"organization"} <= lines[0].keys()
    nothing = await client.get("/v1/audit-events/export?action=y.", headers=BEARER)
    assert nothing.json() == []
