"""Accounts at providers: kept sealed, changed with care, tested with a button."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx2
import pytest
from crewmesh_agent_crew.main import MIGRATIONS
from crewmesh_agent_crew.providers import lifetime as providers
from crewmesh_agent_crew.providers.accounts import Accounts
from crewmesh_agent_crew.providers.adapters import Adapters
from crewmesh_agent_crew.settings import ModelSettings, ProvidersSettings, Settings
from crewmesh_contracts.base import JsonValue
from crewmesh_contracts.invocations.owned_data import ExportedRow
from crewmesh_kit.app import Resources, Service
from crewmesh_kit.db.database import Database
from crewmesh_kit.identity import Identity
from crewmesh_kit.ids import new_id
from crewmesh_kit.owned_data.export import export_page
from crewmesh_kit.settings import DatabaseSettings
from crewmesh_kit.signals import open_signals
from crewmesh_testkit.anthropic_fake import AnthropicFake
from crewmesh_testkit.audit_trail import audit_line
from crewmesh_testkit.fake_sidecar import FakeSidecar
from crewmesh_testkit.identities import auth_headers, identity
from crewmesh_testkit.log_capture import captured_log
from crewmesh_testkit.services import running
from pydantic import SecretStr

from .provider_fakes import KEY, QUESTION

GIVEN = "sk-operators-canary-777"
READ, WRITE = "models:read", "models:write"


@dataclass(frozen=True)
class Desk:
    """The service with this feature alone, and short ways to ask it."""

    client: httpx2.AsyncClient
    resources: Resources
    sidecar: FakeSidecar
    who: Identity

    async def ask(
        self,
        method: str,
        path: str = "",
        body: object = None,
        *,
        who: Identity | None = None,
        if_match: str | None = None,
        key: str | None = None,
    ) -> httpx2.Response:
        headers = auth_headers(who or self.who, audience="agent-crew")
        if if_match is not None:
            headers["if-match"] = if_match
        if key is not None:
            headers["idempotency-key"] = key
        return await self.client.request(method, f"/v1/providers{path}", json=body, headers=headers)

    async def add(self, **account: JsonValue) -> httpx2.Response:
        answer = await self.ask("POST", body=account)
        assert answer.status_code == 201, answer.text
        return answer

    async def change(self, name: str, **account: JsonValue) -> httpx2.Response:
        return await self.ask("PUT", f"/{name}", account, if_match="*")

    async def tested(self, name: str) -> dict[str, JsonValue]:
        answer = await self.ask("POST", f"/{name}/test")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def accounts(self) -> Sequence[str]:
        return [*await self.resources.get(Accounts).all(self.who.organization)]


@asynccontextmanager
async def replica(
    database: str, valkey: str, *, who: Identity, private: bool = True, secrets: dict[str, str] | None = None
) -> AsyncGenerator[Desk]:
    settings = Settings(
        database=DatabaseSettings(url=SecretStr(database)),
        model=ModelSettings(url="http://127.0.0.1:9/v1"),
        providers=ProvidersSettings(private_addresses=private, secrets=secrets or {}),
    )
    given = {"model-api-key": "", "redis-url": valkey, "model-given": GIVEN}
    sidecar = FakeSidecar("agent-crew", secrets=given)
    service = Service("agent-crew", settings, title="Providers", version="0", sidecar=sidecar)
    service.database(migrations=MIGRATIONS)
    service.lifetime(open_signals)
    providers.install(service)
    async with running(service.app) as client:
        yield Desk(client, service.app.state.resources, sidecar, who)


@pytest.fixture
def who() -> Identity:
    return identity(READ, WRITE, organization=new_id("org"))


@pytest.fixture
async def desk(crews_database: str, valkey: str, who: Identity) -> AsyncGenerator[Desk]:
    async with replica(crews_database, valkey, who=who) as opened:
        yield opened


@pytest.fixture
async def anthropic() -> AsyncGenerator[AnthropicFake]:
    async with AnthropicFake(api_key=KEY) as server:
        yield server


class TestKeeping:
    async def test_an_account_is_added_and_its_key_never_shown(self, desk: Desk) -> None:
        added = await desk.add(name="acme", kind="anthropic", key=f" {KEY}\n", most_at_once=4)
        account = added.json()
        assert added.headers["location"] == "/v1/providers/acme"
        assert account["key"]["reference"] == f"vault:{account['id']}"
        assert account["key"]["ends_in"] == f"…{KEY[-4:]}"
        assert (account["base_url"], account["most_at_once"]) == ("https://api.anthropic.com/v1", 4)
        got = await desk.ask("GET", "/acme")
        assert (got.json(), got.headers["etag"]) == (account, '"1"')
        kept = await desk.resources.get(Accounts).get(desk.who.organization, "acme")
        assert kept is not None
        assert kept.key == KEY

    async def test_of_a_short_key_nothing_is_shown(self, desk: Desk) -> None:
        added = await desk.add(name="acme", kind="groq", key="short-key")
        assert added.json()["key"]["ends_in"] == "…"

    async def test_the_list_goes_by_name_with_the_deployments_own(self, desk: Desk) -> None:
        for name in ("zeta", "alpha", "epsilon"):
            await desk.add(name=name, kind="openai", key=KEY)
        first = (await desk.ask("GET", "?limit=3")).json()
        rest = (await desk.ask("GET", f"?limit=3&cursor={first['next_cursor']}")).json()
        names = [(each["name"], each["managed_by"]) for each in (*first["items"], *rest["items"])]
        ours = "organization"
        assert names == [("alpha", ours), ("default", "deployment"), ("epsilon", ours), ("zeta", ours)]
        assert rest["next_cursor"] is None

    async def test_the_same_key_adds_it_once(self, desk: Desk) -> None:
        body = {"name": "acme", "kind": "openai", "key": KEY}
        answers = [await desk.ask("POST", body=body, key="once") for _ in range(3)]
        assert {answer.json()["id"] for answer in answers} == {answers[0].json()["id"]}
        other = await desk.ask("POST", body={**body, "key": f"{KEY}x"}, key="once")
        assert (other.status_code, other.json()["type"].rsplit("/")[-1]) == (422, "idempotency-key-reused")
        again = await desk.ask("POST", body=body)
        assert (again.status_code, again.json()["type"].rsplit("/")[-1]) == (409, "provider-exists")

    async def test_a_change_keeps_the_key_where_it_is(self, desk: Desk) -> None:
        await desk.add(name="acme", kind="openai", key=KEY)
        assert (await desk.ask("PUT", "/acme", {"kind": "openai"})).status_code == 428
        assert (await desk.ask("PUT", "/acme", {"kind": "openai"}, if_match='"7"')).status_code == 412
        changed = await desk.ask("PUT", "/acme", {"kind": "openai", "requests_per_minute": 60}, if_match='"1"')
        assert (changed.status_code, changed.headers["etag"]) == (200, '"2"')
        assert changed.json()["key"]["ends_in"] == f"…{KEY[-4:]}"

    @pytest.mark.parametrize(
        "elsewhere",
        [
            {"kind": "openai", "base_url": "https://evil.example/v1"},
            {"kind": "openai-compatible", "base_url": "https://api.openai.com/v1"},
            {"kind": "openai", "options": {"organization": "theirs"}},
        ],
    )
    async def test_a_key_does_not_move_elsewhere_with_its_account(
        self, desk: Desk, elsewhere: dict[str, JsonValue]
    ) -> None:
        """Who may change accounts but does not know the key could have it sent to a server of theirs."""
        await desk.add(name="acme", kind="openai", key=KEY)
        refused = await desk.change("acme", **elsewhere)
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["path"] == "body.key"
        assert (await desk.change("acme", **elsewhere, key="another-key-of-ours")).status_code == 200

    async def test_a_key_is_removed_where_none_is_needed(self, desk: Desk) -> None:
        await desk.add(name="mine", kind="ollama", key=KEY)
        assert (await desk.change("mine", kind="ollama", key="")).json()["key"] is None
        await desk.add(name="acme", kind="openai", key=KEY)
        assert (await desk.change("acme", kind="openai", key="")).status_code == 422

    async def test_deleting_one(self, desk: Desk) -> None:
        await desk.add(name="acme", kind="openai", key=KEY)
        assert (await desk.ask("DELETE", "/acme", if_match='"9"')).status_code == 412
        assert (await desk.ask("DELETE", "/acme")).status_code == 204
        assert (await desk.ask("GET", "/acme")).status_code == 404
        assert await desk.accounts() == ["default"]

    @pytest.mark.parametrize(
        ("body", "path"),
        [
            ({"kind": "azure", "key": KEY}, "body.base_url"),
            ({"kind": "bedrock", "key": KEY}, "body.options"),
            ({"kind": "bedrock", "key": KEY, "options": {"region": "https://evil"}}, "body.options"),
            ({"kind": "openai", "key": KEY, "options": {"unknown": 1}}, "body.options"),
            ({"kind": "openai"}, "body.key"),
            ({"kind": "openai", "key_secret": "model-given"}, "body.key_secret"),
            ({"kind": "openai", "key": "two words"}, "body.key"),
            ({"kind": "openai", "key": "line\nbreak"}, "body.key"),
            ({"kind": "openai", "key": "k" * 5_000}, "body.key"),
            ({"kind": "none-such", "key": KEY}, "body.kind"),
            ({"kind": "openai", "key": KEY, "surprise": 1}, "body.surprise"),
        ],
    )
    async def test_what_cannot_work_is_refused(self, desk: Desk, body: dict[str, JsonValue], path: str) -> None:
        refused = await desk.ask("POST", body={"name": "acme", **body})
        assert refused.status_code == 422, refused.text
        assert path in [each["path"] for each in refused.json()["errors"]]
        assert str(body.get("key")) not in refused.text or body.get("key") is None

    async def test_every_change_leaves_its_line(self, desk: Desk) -> None:
        id_ = (await desk.add(name="acme", kind="openai", key=KEY)).json()["id"]
        await desk.change("acme", kind="openai", most_at_once=2)
        await desk.ask("DELETE", "/acme")
        lines = [await audit_line(desk.sidecar, f"provider.{verb}", id_) for verb in ("created", "updated", "deleted")]
        after = [line.after.get("most_at_once") if isinstance(line.after, dict) else line.after for line in lines]
        assert after == [None, 2, None]
        assert {line.actor for line in lines} == {desk.who.subject}


class TestWho:
    async def test_others_see_nothing(self, desk: Desk) -> None:
        await desk.add(name="acme", kind="openai", key=KEY)
        stranger = identity(READ, WRITE, organization=new_id("org"))
        asked = [
            await desk.ask("GET", "/acme", who=stranger),
            await desk.ask("PUT", "/acme", {"kind": "openai", "key": KEY}, who=stranger, if_match="*"),
            await desk.ask("DELETE", "/acme", who=stranger),
            await desk.ask("POST", "/acme/test", who=stranger),
        ]
        assert [answer.status_code for answer in asked] == [404] * 4
        assert [each["name"] for each in (await desk.ask("GET", who=stranger)).json()["items"]] == ["default"]

    async def test_reading_is_not_writing(self, desk: Desk) -> None:
        await desk.add(name="acme", kind="openai", key=KEY)
        reader = identity(READ, organization=desk.who.organization)
        body = {"kind": "openai", "key": KEY}
        asked = [
            await desk.ask("POST", body={"name": "x", **body}, who=reader),
            await desk.ask("PUT", "/acme", body, who=reader, if_match="*"),
            await desk.ask("DELETE", "/acme", who=reader),
            await desk.ask("POST", "/acme/test", who=reader),
        ]
        assert [answer.status_code for answer in asked] == [403] * 4
        assert (await desk.ask("GET", "/acme", who=reader)).status_code == 200

    async def test_the_deployments_own_stays_as_it_is(self, desk: Desk) -> None:
        body = {"kind": "openai", "key": KEY}
        asked = [
            await desk.ask("POST", body={"name": "default", **body}),
            await desk.ask("PUT", "/default", body, if_match="*"),
            await desk.ask("DELETE", "/default"),
        ]
        assert [answer.status_code for answer in asked] == [409] * 3
        shown = (await desk.ask("GET", "/default")).json()
        assert (shown["managed_by"], shown["base_url"]) == ("deployment", None)

    async def test_a_secret_of_the_operator_goes_where_the_operator_said(
        self, crews_database: str, valkey: str, who: Identity, anthropic: AnthropicFake
    ) -> None:
        anthropic.api_key = GIVEN
        secrets = {"model-given": anthropic.url}
        async with replica(crews_database, valkey, who=who, private=False, secrets=secrets) as desk:
            await desk.add(name="acme", kind="anthropic", base_url=anthropic.url, key_secret="model-given")
            assert (await desk.tested("acme"))["ok"] is True
            for elsewhere in ("https://evil.example", "https://api.anthropic.com/v1"):
                body = {"name": "b", "kind": "anthropic", "base_url": elsewhere, "key_secret": "model-given"}
                assert (await desk.ask("POST", body=body)).status_code == 422
        async with replica(crews_database, valkey, who=who, private=False) as later:
            account = await later.resources.get(Accounts).get(who.organization, "acme")
            assert account is not None
            assert account.key == ""


class TestAsking:
    async def test_an_own_account_is_asked_and_forgotten_when_it_changes(
        self, crews_database: str, valkey: str, who: Identity, anthropic: AnthropicFake
    ) -> None:
        async with (
            replica(crews_database, valkey, who=who) as one,
            replica(crews_database, valkey, who=who) as other,
        ):
            assert await other.accounts() == ["default"]
            await one.add(name="acme", kind="anthropic", base_url=anthropic.url, key=KEY)
            async with asyncio.timeout(60):
                while "acme" not in await other.accounts():  # noqa: ASYNC110  told over Valkey
                    await asyncio.sleep(0.01)
            account = await other.resources.get(Accounts).get(who.organization, "acme")
            assert account is not None
            reply = await other.resources.get(Adapters).send(account, "fake", QUESTION, None)
            assert reply.text == "ok"
            await one.ask("DELETE", "/acme")
            assert await one.accounts() == ["default"]

    async def test_the_button_finds_models(self, desk: Desk, anthropic: AnthropicFake) -> None:
        await desk.add(name="acme", kind="anthropic", base_url=anthropic.url, key=KEY)
        result = await desk.tested("acme")
        assert (result["ok"], result["models"], result["models_found"]) == (True, ["fake"], 1)
        assert anthropic.requests == [], "nothing was paid for"

    async def test_the_button_says_what_is_wrong(self, desk: Desk, anthropic: AnthropicFake) -> None:
        await desk.add(name="wrong", kind="anthropic", base_url=anthropic.url, key="sk-not-this-one-123")
        await desk.add(name="other", kind="openai-compatible", base_url=f"{anthropic.url}/nowhere", key=KEY)
        await desk.add(name="away", kind="openai", base_url="http://127.0.0.1:1/v1", key=KEY)
        found = [(await desk.tested(name))["trouble"] for name in ("wrong", "other", "away")]
        assert [trouble["kind"] for trouble in found if isinstance(trouble, dict)] == [
            "bad-key",
            "refused",
            "unavailable",
        ]
        assert all(isinstance(trouble, dict) and trouble["advice"] for trouble in found)
        assert "sk-not-this-one-123" not in json.dumps(found)


async def test_the_key_is_nowhere_but_sealed(desk: Desk, anthropic: AnthropicFake) -> None:
    with captured_log("agent-crew") as log:
        told: list[str] = []
        told.append((await desk.add(name="acme", kind="anthropic", base_url=anthropic.url, key=KEY)).text)
        told.append((await desk.change("acme", kind="anthropic", base_url=anthropic.url, key=KEY)).text)
        told += [(await desk.ask("GET", path)).text for path in ("", "/acme")]
        told.append(json.dumps(await desk.tested("acme")))
        anthropic.api_key = "another"
        told.append(json.dumps(await desk.tested("acme")))
        anthropic.api_key = KEY
        told.append((await desk.ask("POST", body={"name": "x", "kind": "nonsense", "key": KEY})).text)
        told.append((await desk.ask("POST", body={"name": "acme", "kind": "openai", "key": KEY}, key="k")).text)
        database = desk.resources.get(Database)
        async with database.tenant(desk.who.organization) as connection:
            for table in ("provider_accounts", "data_keys", "idempotency", "outbox"):
                cursor = await connection.execute(f"SELECT t::text AS row FROM {table} t")  # pyright: ignore[reportArgumentType]  names of ours
                told += [row["row"] for row in await cursor.fetchall()]
        rows = [row async for row in exported(database, desk.who.organization)]
        told.append(json.dumps([row.row for row in rows]))
        told.append(json.dumps([event.model_dump(mode="json") for _, event in desk.sidecar.published]))
        told.append(log.getvalue())
    seen = "\n".join(told)
    assert "provider.created" in seen
    assert "provider.tested" in seen
    assert KEY not in seen
    assert KEY.encode().hex() not in seen
    assert [row.row["sealed_api_key"] for row in rows if row.table == "provider_accounts"] == ["•••"]
    assert [row.row["wrapped_secret"] for row in rows if row.table == "data_keys"] == ["•••"]


async def exported(database: Database, organization: str) -> AsyncGenerator[ExportedRow]:
    page = await export_page(database, organization, None)
    while page.rows:
        for row in page.rows:
            yield row
        page = await export_page(database, organization, page.cursor)
