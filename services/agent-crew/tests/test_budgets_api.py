"""``/v1/budgets`` as people use it."""

from __future__ import annotations

from typing import cast

import httpx2
from crewmesh_agent_crew.models.thinking import Thinking
from crewmesh_contracts.base import JsonObject
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.identity import Identity
from crewmesh_kit.ids import new_id
from crewmesh_testkit.audit_trail import audit_line
from crewmesh_testkit.fake_sidecar import FakeSidecar
from crewmesh_testkit.identities import auth_headers

from .harness import Running
from .records_api import slug
from .test_sharing import person, share

PATH = "/v1/budgets"
MONTHLY: JsonObject = {
    "name": "All of us",
    "scope": {"kind": "organization"},
    "period": "month",
    "limit": "200.5",
    "switch_to": "fast",
    "at_100": "wait",
}
EVERY_RUN: JsonObject = {"name": "Every run", "scope": {"kind": "run"}, "period": "total", "limit": "1"}


def admin(service: Running, *, organization: str | None = None) -> Identity:
    return service.who("budgets:read", "budgets:write", organization=organization)


async def make(service: Running, body: JsonObject, *, key: str | None = None) -> httpx2.Response:
    return await service.post(PATH, body, who=admin(service), key=key)


async def put(service: Running, path: str, body: JsonObject, *, if_match: str | None) -> httpx2.Response:
    headers = auth_headers(admin(service), audience="agent-crew")
    return await service.client.put(
        path, json=body, headers=headers if if_match is None else {**headers, "if-match": if_match}
    )


async def test_nobody_without_the_permission(service: Running) -> None:
    reader = service.who("budgets:read")
    assert (await service.get(PATH, who=service.who())).status_code == 403
    assert (await service.post(PATH, MONTHLY, who=reader)).status_code == 403
    assert (await service.client.get(PATH)).status_code == 401


async def test_a_budget_is_made_shown_changed_and_deleted(service: Running) -> None:
    made = await make(service, MONTHLY, key="k")
    assert made.status_code == 201, made.text
    again = await make(service, MONTHLY, key="k")
    assert again.json() == made.json()
    path = made.headers["location"]
    shown = await service.get(path, who=admin(service))
    assert shown.json() == made.json()
    use = shown.json()["use"]
    assert (use["spent"], use["left"], use["scope_id"]) == ("0", "200.5", service.organization)
    assert use["resets_at"] > use["period_start"]
    assert (await put(service, path, {**MONTHLY, "limit": "7"}, if_match=None)).status_code == 428
    assert (await put(service, path, {**MONTHLY, "limit": "7"}, if_match='"9"')).status_code == 412
    changed = await put(service, path, {**MONTHLY, "limit": "7"}, if_match=shown.headers["etag"])
    assert (changed.json()["limit"], changed.json()["version"]) == ("7", 2)
    moved = await put(service, path, {**MONTHLY, "period": "day"}, if_match="*")
    assert (moved.status_code, moved.json()["type"].rsplit("/")[-1]) == (409, "budget-is-for-others")
    headers = auth_headers(admin(service), audience="agent-crew")
    assert (await service.client.delete(path, headers=headers)).status_code == 204
    assert (await service.get(path, who=admin(service))).status_code == 404


async def test_amounts_are_exact_and_bounded(service: Running) -> None:
    for limit in ("-1", "0.0000000001", "1e30", "many", "NaN"):
        assert (await make(service, {**MONTHLY, "limit": limit})).status_code == 422, limit
    small = await make(service, {**MONTHLY, "limit": "0.000000001"})
    assert small.json()["limit"] == "0.000000001"
    assert (await make(service, {**MONTHLY, "surprise": 1})).status_code == 422
    assert (await make(service, {**MONTHLY, "scope": {"kind": "organization", "id": "org_1"}})).status_code == 422


async def test_budgets_are_listed_by_pages_and_by_whom_they_are_for(service: Running) -> None:
    for number in range(3):
        await make(service, {**EVERY_RUN, "name": f"Run {number}"})
    await make(service, {**EVERY_RUN, "scope": {"kind": "crew", "id": "answer-desk"}})
    first = (await service.get(f"{PATH}?limit=3", who=admin(service))).json()
    rest = (await service.get(f"{PATH}?limit=3&cursor={first['next_cursor']}", who=admin(service))).json()
    assert [len(page["items"]) for page in (first, rest)] == [3, 1]
    for query, count in (("scope_kind=run", 3), ("scope_kind=crew&scope_id=answer-desk", 1), ("scope_id=other", 0)):
        found = (await service.get(f"{PATH}?{query}", who=admin(service))).json()["items"]
        assert len(found) == count, query


async def test_a_top_up_is_more_for_this_period(service: Running) -> None:
    path = (await make(service, MONTHLY)).headers["location"]
    body = {"amount": "25", "reason": "The launch takes longer."}
    first, added = [await service.post(f"{path}/top-ups", body, who=admin(service), key="t") for _ in range(2)]
    assert (added.status_code, added.json()) == (201, first.json()), added.text
    shown = await service.get(added.headers["location"], who=admin(service))
    assert shown.json() == added.json()
    assert (await service.get(path, who=admin(service))).json()["use"]["left"] == "225.5"
    listed = (await service.get(f"{path}/top-ups", who=admin(service))).json()["items"]
    assert [each["id"] for each in listed] == [added.json()["id"]]
    missing = await service.get(f"{path}/top-ups/{new_id('top')}", who=admin(service))
    assert slug(missing) == (404, "unknown-top-up")
    too_much = {"amount": "999999999", "reason": "?"}
    statuses = [(await service.post(f"{path}/top-ups", too_much, who=admin(service))).status_code for _ in range(2)]
    assert statuses == [201, 422] or statuses == [422, 422]


async def test_where_each_has_its_own_it_must_be_said_whose_is_topped_up(service: Running) -> None:
    path = (await make(service, EVERY_RUN)).headers["location"]
    assert (await service.get(path, who=admin(service))).json()["use"] is None
    body: JsonObject = {"amount": "1", "reason": "More"}
    assert (await service.post(f"{path}/top-ups", body, who=admin(service))).status_code == 422
    run = new_id("run")
    assert (await service.post(f"{path}/top-ups", {**body, "scope_id": run}, who=admin(service))).status_code == 201
    (use,) = (await service.get(f"{path}/balances", who=admin(service))).json()["items"]
    assert (use["scope_id"], use["left"], use["topped_up"], use["resets_at"]) == (run, "2", "1", None)


async def test_what_is_for_a_hidden_crew_is_hidden(service: Running) -> None:
    of_one = (await make(service, {"name": "One", "scope": {"kind": "crew", "id": "answer-desk"}, "limit": "1"})).json()
    of_each = (await make(service, {"name": "Each", "scope": {"kind": "crew"}, "limit": "1"})).json()
    for crew in ("answer-desk", "open"):
        body: JsonObject = {"amount": "1", "reason": "More", "scope_id": crew}
        path = f"{PATH}/{of_each['id']}/top-ups"
        assert (await service.post(path, body, who=admin(service))).status_code == 201
    assert (await share(service)).status_code == 200

    async def told(path: str, role: str) -> list[JsonObject]:
        who = person(service, "1", "budgets:read", role=role)
        return (await service.get(f"{PATH}{path}", who=who)).json()["items"]

    for role, crews in (("admin", ["answer-desk", "open"]), ("editor", ["open"])):
        assert len(await told("", role)) == len(crews)
        for path in ("balances", "top-ups"):
            shares = await told(f"/{of_each['id']}/{path}", role)
            assert sorted(str(each["scope_id"]) for each in shares) == crews
    editor = person(service, "1", "budgets:read", "budgets:write")
    assert (await service.get(f"{PATH}/{of_one['id']}", who=editor)).status_code == 404


async def test_another_organization_s_budget_is_an_unknown_one(service: Running) -> None:
    path = (await make(service, MONTHLY)).headers["location"]
    stranger = admin(service, organization=new_id("org"))
    unknown = await service.get(f"{PATH}/{new_id('bud')}", who=stranger)
    for other in (path, f"{path}/balances", f"{path}/top-ups", f"{path}/top-ups/{new_id('top')}"):
        hidden = await service.get(other, who=stranger)
        assert (hidden.status_code, hidden.json()["type"]) == (404, unknown.json()["type"])
    more = {"amount": "1", "reason": "Mine"}
    assert (await service.post(f"{path}/top-ups", more, who=stranger)).status_code == 404
    headers = auth_headers(stranger, audience="agent-crew")
    assert (await service.client.delete(path, headers=headers)).status_code == 404
    assert (await service.get(PATH, who=stranger)).json()["items"] == []


async def test_every_change_is_in_the_audit_log(service: Running) -> None:
    sidecar = cast(FakeSidecar, service.resources.get(Sidecar))
    made = await make(service, MONTHLY)
    path, budget = made.headers["location"], made.json()["id"]
    created = await audit_line(sidecar, "budget.created", budget)
    assert created.after == {**MONTHLY, "scope": {"kind": "organization", "id": None}, "enabled": True}
    await put(service, path, {**MONTHLY, "limit": "7"}, if_match="*")
    updated = await audit_line(sidecar, "budget.updated", budget)
    assert isinstance(updated.before, dict)
    assert isinstance(updated.after, dict)
    assert (updated.before["limit"], updated.after["limit"]) == ("200.5", "7")
    await service.post(f"{path}/top-ups", {"amount": "1.50", "reason": "More"}, who=admin(service))
    topped_up = await audit_line(sidecar, "budget.topped-up", budget)
    assert topped_up.after == {"amount": "1.50", "scope_id": service.organization, "reason": "More"}
    await service.client.delete(path, headers=auth_headers(admin(service), audience="agent-crew"))
    assert (await audit_line(sidecar, "budget.deleted", budget)).actor == admin(service).subject


async def test_the_door_to_models_is_open(service: Running) -> None:
    assert service.resources.get(Thinking)
