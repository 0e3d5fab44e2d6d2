"""Teams: their names, who belongs to them, and that places count at once."""

from __future__ import annotations

import asyncio
import json

import httpx2
from crewmesh_gateway.principals.repository import group_names
from crewmesh_kit.identity import Identity, TokenVerifier
from crewmesh_testkit import FakeSidecar, running
from crewmesh_testkit.identities import public_keys
from fastapi import FastAPI

from .gateway import Upstream
from .people import Somebody, audited, founder, member


async def test_teams_are_made_renamed_and_deleted(app: FastAPI, sidecar: FakeSidecar) -> None:
    async with running(app) as client:
        olga = await founder(app)
        mia = await member(app, olga.organization, "editor")
        once = {**olga.headers, "idempotency-key": "once"}
        made = await client.post("/v1/teams", json={"name": " Ops "}, headers=once)
        assert made.status_code == 201
        team = made.json()
        assert (team["name"], team["members"], team["version"]) == ("Ops", 0, 1)
        assert made.headers["location"] == f"/v1/teams/{team['id']}"
        assert (await client.post("/v1/teams", json={"name": " Ops "}, headers=once)).json() == team
        twice = await client.post("/v1/teams", json={"name": "Ops"}, headers=olga.headers)
        assert twice.json()["type"].endswith("/team-exists")
        assert (await client.post("/v1/teams", json={"name": "x"}, headers=mia.headers)).status_code == 403
        path = f"/v1/teams/{team['id']}"
        assert (await client.get(path, headers=mia.headers)).json() == team
        assert (await client.patch(path, json={"name": "Operations"}, headers=olga.headers)).status_code == 428
        tagged = {**olga.headers, "if-match": made.headers["etag"]}
        renamed = await client.patch(path, json={"name": "Operations"}, headers=tagged)
        assert (renamed.json()["name"], renamed.json()["version"]) == ("Operations", 2)
        assert (await client.patch(path, json={"name": "x"}, headers=tagged)).status_code == 412
        await client.post("/v1/teams", json={"name": "Taken"}, headers=olga.headers)
        taken = await client.patch(path, json={"name": "Taken"}, headers={**olga.headers, "if-match": "*"})
        assert taken.status_code == 409
        assert (await client.delete(path, headers=mia.headers)).status_code == 403
        assert (await client.delete(path, headers=olga.headers)).status_code == 204
        assert (await client.get(path, headers=olga.headers)).status_code == 404
        assert (await client.delete(path, headers=olga.headers)).status_code == 404
        actions = await audited(app, sidecar, olga.organization)
        assert [each for each in actions if each.startswith("team.")] == [
            *("team.created", "team.updated", "team.created", "team.deleted")
        ]


async def test_services_learn_at_once_which_teams_somebody_belongs_to(
    app: FastAPI, upstream: Upstream, sidecar: FakeSidecar
) -> None:
    verifier = TokenVerifier(public_keys(), audience="workflow")
    async with running(app) as client:
        olga = await founder(app)
        mia = await member(app, olga.organization, "editor")
        team = (await client.post("/v1/teams", json={"name": "Ops"}, headers=olga.headers)).json()["id"]
        place = f"/v1/teams/{team}/members/{mia.id}"

        async def groups() -> frozenset[str]:
            await client.get("/v1/runs", headers=mia.headers)
            token = upstream.seen[-1].headers["authorization"].removeprefix("Bearer ")
            return verifier.verify(token).groups

        assert await groups() == {"role:editor"}
        for _ in range(2):
            assert (await client.put(place, headers=olga.headers)).status_code == 204
        assert await groups() == {"role:editor", f"team:{team}"}
        [listed] = (await client.get(f"/v1/teams/{team}/members", headers=mia.headers)).json()["items"]
        assert (listed["id"], listed["teams"]) == (mia.id, [team])
        assert (await client.get(f"/v1/teams/{team}", headers=mia.headers)).json()["members"] == 1
        for _ in range(2):
            assert (await client.delete(place, headers=olga.headers)).status_code == 204
        assert await groups() == {"role:editor"}
        await client.put(place, headers=olga.headers)
        assert f"team:{team}" in await groups()
        await client.delete(f"/v1/teams/{team}", headers=olga.headers)
        assert await groups() == {"role:editor"}
        actions = await audited(app, sidecar, olga.organization)
        assert actions.count("team.member-added") == 2, "what was so already is no change"
        assert actions.count("team.member-removed") == 1


async def test_questions_may_go_by_the_names_of_roles_and_teams(app: FastAPI, upstream: Upstream) -> None:
    verifier = TokenVerifier(public_keys(), audience="workflow")
    async with running(app) as client:
        olga, other = await founder(app), await founder(app, "Elsewhere")
        mia = await member(app, olga.organization, "editor")
        change = {**olga.headers, "if-match": "*"}
        id_of_another = "team_" + "1" * 32
        teams = [await _made(client, "/v1/teams", olga, name=name) for name in ("Vertrieb Süd", "ops", id_of_another)]
        await _made(client, "/v1/teams", other, name="theirs")
        for team in teams:
            await client.put(f"/v1/teams/{team}/members/{mia.id}", headers=olga.headers)

        async def told() -> Identity:
            await client.get("/v1/runs", headers=mia.headers)
            return verifier.verify(upstream.seen[-1].headers["authorization"].removeprefix("Bearer "))

        who = await told()
        assert who.group_names == {"team:Vertrieb Süd", "team:ops"}, "what looks like an id is no name"
        assert who.groups == {"role:editor", *(f"team:{team}" for team in teams)}, "access goes by ids alone"
        await client.patch(f"/v1/teams/{teams[1]}", json={"name": "finance"}, headers=change)
        assert (await told()).group_names == {"team:Vertrieb Süd", "team:finance"}, "at once"
        role = await _made(client, "/v1/roles", olga, name="Approver", permissions=["runs:read"])
        await client.patch(f"/v1/members/{mia.id}", json={"role": role}, headers=olga.headers)
        who = await told()
        assert "role:Approver" in who.group_names
        assert f"role:{role}" in who.groups


def test_very_many_long_names_still_go_into_the_head_of_a_request() -> None:
    names = group_names("Approver", (f"{number:03}" + "ש" * 97 for number in range(300)))
    assert "role:Approver" in names
    assert 1 < len(names) < 300
    assert len(json.dumps(sorted(names))) < 5_000


async def _made(client: httpx2.AsyncClient, path: str, who: Somebody, **body: object) -> str:
    made = await client.post(path, json=body, headers=who.headers)
    assert made.status_code == 201, made.text
    return made.json()["id"]


async def test_other_organizations_teams_do_not_exist_here(app: FastAPI) -> None:
    async with running(app) as client:
        olga, other = await founder(app), await founder(app, "Elsewhere")
        mia = await member(app, olga.organization, "viewer")
        theirs = (await client.post("/v1/teams", json={"name": "Ops"}, headers=other.headers)).json()["id"]
        await client.put(f"/v1/teams/{theirs}/members/{other.id}", headers=other.headers)
        change = {**olga.headers, "if-match": "*"}
        for team in (theirs, "team_" + "0" * 32, "__proto__"):
            answers = [
                await client.get(f"/v1/teams/{team}", headers=olga.headers),
                await client.patch(f"/v1/teams/{team}", json={"name": "x"}, headers=change),
                await client.delete(f"/v1/teams/{team}", headers=olga.headers),
                await client.get(f"/v1/teams/{team}/members", headers=olga.headers),
                await client.put(f"/v1/teams/{team}/members/{mia.id}", headers=olga.headers),
                await client.delete(f"/v1/teams/{team}/members/{mia.id}", headers=olga.headers),
            ]
            assert [answer.status_code for answer in answers] == [404] * 6
            assert len({answer.json()["detail"] for answer in answers}) == 1
        assert (await client.get("/v1/teams", headers=olga.headers)).json()["items"] == []
        assert (await client.get(f"/v1/teams/{theirs}/members", headers=other.headers)).json()["items"]


async def test_names_of_teams(app: FastAPI) -> None:
    async with running(app) as client:
        olga = await founder(app)
        for name in ("__proto__", "constructor", "{{7*7}}", "<b>", "שלום\u200f", "x" * 100):
            made = await client.post("/v1/teams", json={"name": name}, headers=olga.headers)
            assert made.json()["name"] == name
        headers = {**olga.headers, "content-type": "application/json"}
        wrong: list[object] = ["", "x" * 101, "x" * 10_000, "a\x00", "a\u202eb", None, {"a": 1}, 7]
        for name in wrong:
            body = json.dumps({"name": name})
            assert (await client.post("/v1/teams", content=body, headers=headers)).status_code == 422, name
        surrogate = await client.post("/v1/teams", content=b'{"name": "\\ud800"}', headers=headers)
        assert surrogate.status_code in (400, 422)
        races = await asyncio.gather(
            *(client.post("/v1/teams", json={"name": "Raced"}, headers=olga.headers) for _ in range(20))
        )
        assert sorted(answer.status_code for answer in races) == [201, *[409] * 19]
        page = (await client.get("/v1/teams?limit=3", headers=olga.headers)).json()
        rest = (await client.get(f"/v1/teams?limit=3&cursor={page['next_cursor']}", headers=olga.headers)).json()
        assert len({each["id"] for each in [*page["items"], *rest["items"]]}) == 6
        broken = await client.get("/v1/teams?cursor=WyJcdWQ4MDAiXQ", headers=olga.headers)
        assert broken.status_code == 400, "a cursor with half a character in it"
