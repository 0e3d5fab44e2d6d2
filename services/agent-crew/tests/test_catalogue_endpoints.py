"""Models and aliases over HTTP: what everybody has, what an organization says of it, and what calls make of that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import httpx2
import pytest
from crewmesh_agent_crew.models.calls import Message, ModelCall
from crewmesh_agent_crew.routing.router import Router
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.identity import Identity
from crewmesh_kit.ids import new_id
from crewmesh_testkit.audit_trail import audit_line
from crewmesh_testkit.fake_sidecar import FakeSidecar
from crewmesh_testkit.identities import auth_headers

from .harness import Running

PRICES: JsonObject = {"input": "3", "output": "12.5", "cached": "0.3"}


@dataclass(frozen=True)
class Admin:
    """Somebody who may change models, of the service's organization or another."""

    service: Running
    who: Identity

    async def get(self, path: str = "", **query: str) -> httpx2.Response:
        return await self._ask("GET", path, None, {}, query)

    async def put(self, path: str, body: JsonObject, *, etag: str | None = None) -> httpx2.Response:
        return await self._ask("PUT", path, body, {} if etag is None else {"if-match": etag}, {})

    async def delete(self, path: str, *, etag: str | None = None) -> httpx2.Response:
        return await self._ask("DELETE", path, None, {} if etag is None else {"if-match": etag}, {})

    async def names(self, **query: str) -> list[str]:
        return [item["name"] for item in (await self.get(limit="200", **query)).json()["items"]]

    async def add_account(self, name: str, kind: str) -> None:
        headers = auth_headers(self.service.who("*"), audience="agent-crew")
        body = {"name": name, "kind": kind, "key": "sk-1234567890"}
        added = await self.service.client.post("/v1/providers", json=body, headers=headers)
        assert added.status_code == 201, added.text

    async def candidates(self, name: str) -> list[tuple[str, str, str]]:
        """Whom a call would be asked of: model, account, and the model's name there."""
        call = ModelCall(model=name, messages=(Message(role="user", content="?"),))
        found = await self.service.resources.get(Router).candidates(self.who.organization, call)
        return [(each.entry.name, each.account.name, each.entry.model) for each in found]

    async def _ask(
        self, method: str, path: str, body: JsonValue, headers: Mapping[str, str], query: Mapping[str, str]
    ) -> httpx2.Response:
        return await self.service.client.request(
            method,
            f"/v1/models{path}",
            json=body,
            params=dict(query),
            headers={**auth_headers(self.who, audience="agent-crew"), **headers},
        )


@pytest.fixture
def admin(service: Running) -> Admin:
    return Admin(service, service.who("models:read", "models:write"))


@pytest.fixture
def stranger(service: Running) -> Admin:
    return Admin(service, service.who("models:read", "models:write", organization=new_id("org")))


def slug_of(response: httpx2.Response) -> tuple[int, str]:
    return response.status_code, response.json()["type"].rsplit("/")[-1]


def fields_of(response: httpx2.Response) -> list[str]:
    assert response.status_code == 422, response.text
    return [error["path"] for error in response.json()["errors"]]


class TestReading:
    async def test_everybody_has_the_deployments_and_the_built_in_ones(self, admin: Admin) -> None:
        model = (await admin.get("/fake")).json()
        assert model == {
            "id": None,
            "name": "fake",
            "provider": "default",
            "kind": "openai-compatible",
            "model": "fake",
            "source": "deployment",
            "usable": True,
            "prices": {"input": "0", "output": "0", "cached": None, "written": None, "long": None},
            "price_version": "free",
            "context_tokens": None,
            "max_output_tokens": None,
            "usual_max_tokens": 4096,
            "image_tokens": 6000,
            "temperature": 0.2,
            "capabilities": ["images", "json_schema", "streaming", "tools"],
            "aliases": ["default", "smart"],
            "version": 0,
        }
        built_in = (await admin.get("/claude-sonnet-5-5")).json()
        assert (built_in["source"], built_in["usable"], built_in["provider"]) == ("built-in", False, None)

    async def test_they_are_listed_in_pages_and_by_what_they_can(self, admin: Admin) -> None:
        first = (await admin.get(limit="5")).json()
        second = (await admin.get(limit="5", cursor=first["next_cursor"])).json()
        names = [item["name"] for page in (first, second) for item in page["items"]]
        assert names == (await admin.names())[:10] == sorted(names)
        assert await admin.names(usable="true") == ["fake", "fake-mini"]
        assert "fake" not in await admin.names(source="built-in")
        assert await admin.names(provider="default") == ["fake", "fake-mini"]
        assert "mistral-large-4" not in await admin.names(capability="images")

    async def test_an_account_makes_the_models_of_its_kind_usable(self, admin: Admin) -> None:
        await admin.add_account("claude", "anthropic")
        assert (await admin.get("/claude-sonnet-5-5")).json()["provider"] == "claude"
        assert await admin.names(usable="true", provider="default") == ["fake", "fake-mini"]
        assert [name for name, _, _ in await admin.candidates("smart")] == ["claude-opus-5-5", "fake"]

    async def test_names_with_slashes_are_names(self, admin: Admin) -> None:
        assert (await admin.get("/groq/openai/gpt-oss-120b")).json()["model"] == "openai/gpt-oss-120b"

    async def test_aliases(self, admin: Admin) -> None:
        aliases = {item["name"]: item for item in (await admin.get("/aliases")).json()["items"]}
        assert {name: (alias["asks"], alias["source"]) for name, alias in aliases.items()} == {
            "default": (["fake"], "deployment"),
            "fast": (["fake-mini"], "deployment"),
            "smart": (["fake"], "built-in"),
        }
        assert (await admin.get("/aliases/fast")).json() == aliases["fast"]

    async def test_what_there_is_not(self, admin: Admin) -> None:
        assert slug_of(await admin.get("/gpt-99")) == (404, "model-not-found")
        assert slug_of(await admin.get("/aliases/gpt-99")) == (404, "model-alias-not-found")

    async def test_permissions(self, service: Running) -> None:
        reader = Admin(service, service.who("models:read"))
        assert (await reader.get("/fake")).status_code == 200
        for refused in (
            await reader.put("/fake", {}),
            await reader.delete("/fake"),
            await reader.put("/aliases/x", {"models": ["fake"]}),
            await reader.delete("/aliases/x"),
            await Admin(service, service.who("crews:read")).get(),
        ):
            assert refused.status_code == 403


class TestPrices:
    async def test_an_organization_says_what_it_pays_and_every_price_stays_known(self, admin: Admin) -> None:
        made = await admin.put("/fake", {"prices": PRICES})
        assert (made.status_code, made.headers["location"], made.headers["etag"]) == (201, "/v1/models/fake", '"1"')
        model = made.json()
        assert (model["source"], model["provider"], model["price_version"]) == ("organization", "default", "fake@1")
        assert model["prices"]["output"] == "12.5"

        same_prices = await admin.put("/fake", {"prices": PRICES, "max_output_tokens": 50}, etag='"1"')
        assert (same_prices.status_code, same_prices.json()["price_version"]) == (200, "fake@1")
        changed = await admin.put("/fake", {"prices": {**PRICES, "input": "4"}}, etag='"2"')
        assert (changed.json()["price_version"], changed.json()["version"]) == ("fake@2", 3)

        assert (await admin.delete("/fake")).status_code == 204
        assert (await admin.get("/fake")).json()["price_version"] == "free"
        again = await admin.put("/fake", {"prices": PRICES})
        assert again.json()["price_version"] == "fake@3"
        history = (await admin.get("/fake/prices")).json()["items"]
        assert [(each["price_version"], each["prices"]["input"]) for each in history] == [
            ("fake@3", "3"),
            ("fake@2", "4"),
            ("fake@1", "3"),
        ]

    async def test_a_call_costs_what_was_said(self, admin: Admin) -> None:
        service = admin.service
        await admin.put("/fake", {"prices": {"input": "1", "output": "1000"}})
        service.model.answers("three words long")
        usage = (await service.ask(prompt="four words are here")).json()["usage"]
        assert (usage["prompt_tokens"], usage["completion_tokens"], usage["cost"]) == (4, 3, "0.003004")

    async def test_what_it_does_not_say_stays_as_it_is(self, admin: Admin) -> None:
        await admin.put("/claude-sonnet-5-5", {"temperature": 0.1})
        model = (await admin.get("/claude-sonnet-5-5")).json()
        assert (model["temperature"], model["prices"]["input"], model["context_tokens"]) == (0.1, "2", 1_000_000)
        assert model["price_version"].startswith("genai-prices")


class TestModelsOfTheOrganization:
    async def test_one_that_nobody_knows(self, admin: Admin) -> None:
        body: JsonObject = {"provider": "default", "model": "house-7b", "prices": PRICES, "capabilities": ["streaming"]}
        assert (await admin.put("/team/house", body)).status_code == 201
        assert await admin.candidates("team/house") == [("team/house", "default", "house-7b")]
        service = admin.service
        answer = (await service.ask(prompt="Hello", model="team/house")).json()
        assert (answer["usage"]["model"], service.model.requests[-1].model) == ("team/house", "house-7b")

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"provider": "default"}, "body.prices"),
            ({"prices": PRICES}, "body.provider"),
            ({"prices": PRICES, "provider": "gone"}, "body.provider"),
            ({"prices": {"input": "-1", "output": "0"}, "provider": "default"}, "body.prices.input"),
            ({"prices": {"input": "0.0000000001", "output": "0"}, "provider": "default"}, "body.prices.input"),
            ({"prices": PRICES, "provider": "default", "colour": "blue"}, "body.colour"),
            ({"prices": PRICES, "provider": "default", "capabilities": ["flying"]}, "body.capabilities[0]"),
        ],
    )
    async def test_what_cannot_be_one(self, admin: Admin, body: JsonObject, field: str) -> None:
        assert fields_of(await admin.put("/house", body)) == [field]

    async def test_the_providers_name_for_a_known_model_is_enough_for_its_price(self, admin: Admin) -> None:
        await admin.put("/our-sonnet", {"provider": "default", "model": "claude-sonnet-5-5"})
        model = (await admin.get("/our-sonnet")).json()
        assert (model["prices"]["output"], model["kind"], model["provider"]) == ("10", "openai-compatible", "default")

    async def test_changes_want_the_version_they_are_meant_for(self, admin: Admin) -> None:
        body: JsonObject = {"provider": "default", "prices": PRICES}
        assert slug_of(await admin.put("/house", body, etag='"3"')) == (412, "precondition-failed")
        await admin.put("/house", body)
        assert slug_of(await admin.put("/house", body)) == (428, "precondition-required")
        assert slug_of(await admin.put("/house", body, etag='"7"')) == (412, "precondition-failed")
        assert (await admin.put("/house", body, etag='"1"')).headers["etag"] == '"1"'
        assert slug_of(await admin.delete("/house", etag='"7"')) == (412, "precondition-failed")

    async def test_deleting(self, admin: Admin) -> None:
        await admin.put("/house", {"provider": "default", "prices": PRICES})
        await admin.put("/aliases/home", {"models": ["house"]})
        in_use = await admin.delete("/house")
        assert slug_of(in_use) == (409, "model-in-use")
        assert "home" in in_use.json()["detail"]
        assert (await admin.delete("/aliases/home")).status_code == 204
        assert (await admin.delete("/house")).status_code == 204
        assert slug_of(await admin.delete("/house")) == (404, "model-not-found")
        assert slug_of(await admin.delete("/fake")) == (404, "not-your-model")

    async def test_they_are_nobody_elses(self, admin: Admin, stranger: Admin) -> None:
        await admin.put("/house", {"provider": "default", "prices": PRICES})
        await admin.put("/aliases/home", {"models": ["house"]})
        assert slug_of(await stranger.get("/house")) == slug_of(await stranger.get("/gpt-99"))
        assert slug_of(await stranger.delete("/house")) == (404, "model-not-found")
        assert slug_of(await stranger.get("/aliases/home")) == (404, "model-alias-not-found")
        assert (await stranger.get("/house/prices")).json()["items"] == []
        assert "house" not in await stranger.names()


class TestAliases:
    async def test_a_chain_is_asked_in_order_and_means_something_at_once(self, admin: Admin) -> None:
        await admin.put("/house", {"provider": "default", "prices": PRICES})
        assert [name for name, _, _ in await admin.candidates("smart")] == ["fake"]
        made = await admin.put("/aliases/smart", {"models": ["claude-opus-5-5", "house", "default"]})
        assert (made.status_code, made.headers["location"]) == (201, "/v1/models/aliases/smart")
        assert made.json()["asks"] == ["house", "fake"]
        assert [name for name, _, _ in await admin.candidates("smart")] == ["house", "fake"]
        changed = await admin.put("/aliases/smart", {"models": ["house"]}, etag='"1"')
        assert (changed.status_code, changed.json()["version"]) == (200, 2)
        assert (await admin.delete("/aliases/smart", etag='"2"')).status_code == 204
        assert [name for name, _, _ in await admin.candidates("smart")] == ["fake"]

    async def test_the_default_can_be_another(self, admin: Admin) -> None:
        service = admin.service
        await admin.put("/aliases/default", {"models": ["fake-mini"]})
        assert (await service.ask(prompt="Hello")).json()["usage"]["model"] == "fake-mini"

    @pytest.mark.parametrize(
        ("body", "field"),
        [
            ({"models": []}, "body.models"),
            ({"models": ["gpt-99"]}, "body.models[0]"),
            ({"models": ["fake", "home"]}, "body.models[1]"),
            ({"models": ["fake", "fake"]}, "body.models"),
        ],
    )
    async def test_what_cannot_be_one(self, admin: Admin, body: JsonObject, field: str) -> None:
        assert fields_of(await admin.put("/aliases/home", body)) == [field]

    async def test_aliases_that_lead_to_each_other_lead_nowhere_else(self, admin: Admin) -> None:
        await admin.put("/aliases/one", {"models": ["fake"]})
        await admin.put("/aliases/two", {"models": ["one", "fake-mini"]})
        await admin.put("/aliases/one", {"models": ["two", "fake"]}, etag='"1"')
        assert [name for name, _, _ in await admin.candidates("one")] == ["fake-mini", "fake"]
        assert slug_of(await admin.delete("/aliases/one")) == (409, "model-in-use")

    async def test_a_name_is_a_model_or_an_alias(self, admin: Admin) -> None:
        assert slug_of(await admin.put("/aliases/fake", {"models": ["fake-mini"]})) == (409, "model-name-taken")
        for name in ("fast", "aliases", "house/prices"):
            refused = await admin.put(f"/{name}", {"provider": "default", "prices": PRICES})
            assert slug_of(refused) == (409, "model-name-taken")


async def test_every_change_leaves_its_line(admin: Admin) -> None:
    sidecar = cast(FakeSidecar, admin.service.resources.get(Sidecar))
    body: JsonObject = {"provider": "default", "prices": PRICES}
    model = (await admin.put("/house", body)).json()
    await admin.put("/house", {**body, "temperature": 0.5}, etag='"1"')
    await admin.delete("/house")
    alias = (await admin.put("/aliases/home", {"models": ["fake"]})).json()
    await admin.put("/aliases/home", {"models": ["fake-mini"]}, etag='"1"')
    await admin.delete("/aliases/home")
    for thing, resource in (("model", model["id"]), ("model-alias", alias["id"])):
        created = await audit_line(sidecar, f"{thing}.created", resource)
        updated = await audit_line(sidecar, f"{thing}.updated", resource)
        deleted = await audit_line(sidecar, f"{thing}.deleted", resource)
        assert (created.before, created.after) == (None, updated.before)
        assert updated.after == deleted.before != updated.before
