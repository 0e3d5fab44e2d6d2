"""From where an organization admits requests, and that nobody shuts themselves out by mistake."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from crewmesh_gateway.limits.allowlist import admits
from crewmesh_gateway.main import create_app
from crewmesh_gateway.settings import KeySettings, Settings
from crewmesh_testkit import APP_API_TOKEN, FakeSidecar, running
from fastapi import FastAPI
from httpx2 import AsyncClient, Response
from pydantic import SecretStr

from .credentials import member
from .gateway import BEARER, until
from .inside import change
from .people import audited, founder

_ALLOWLIST = "/v1/limits/allowlist"
_EMPTY: dict[str, list[str]] = {"networks": []}


@pytest.fixture
def edge(settings: Settings, sidecar: FakeSidecar) -> FastAPI:
    """A gateway whose sidecar may say where requests come from."""
    dapr = settings.dapr.model_copy(update={"app_api_token": SecretStr(APP_API_TOKEN)})
    return create_app(settings.model_copy(update={"dapr": dapr}), sidecar)


def coming_from(address: str, **more: str) -> dict[str, str]:
    return {**BEARER, "dapr-api-token": APP_API_TOKEN, "x-real-ip": address, **more}


async def put(
    client: AsyncClient, networks: list[str], *, headers: dict[str, str] = BEARER, force: bool = False
) -> Response:
    parameters = {"force": "true"} if force else {}
    return await client.put(
        _ALLOWLIST, json={"networks": networks}, headers={"if-match": "*", **headers}, params=parameters
    )


class TestTheList:
    async def test_it_is_empty_at_first_and_tells_where_one_is(self, edge: FastAPI) -> None:
        async with running(edge) as client:
            answer = await client.get(_ALLOWLIST, headers=coming_from("192.0.2.7"))
        assert answer.json() == {"networks": [], "your_address": "192.0.2.7"}
        assert answer.headers["etag"]

    async def test_a_change_names_the_version_it_is_meant_for(self, app: FastAPI) -> None:
        async with running(app) as client:
            first = (await client.get(_ALLOWLIST, headers=BEARER)).headers["etag"]
            body = {"networks": ["127.0.0.0/8"]}
            assert (await client.put(_ALLOWLIST, json=body, headers=BEARER)).status_code == 428
            changed = await client.put(_ALLOWLIST, json=body, headers={**BEARER, "if-match": first})
            assert changed.status_code == 200
            assert (await client.get(_ALLOWLIST, headers=BEARER)).headers["etag"] == changed.headers["etag"] != first
            late = await client.put(_ALLOWLIST, json=_EMPTY, headers={**BEARER, "if-match": first})
            assert late.status_code == 412

    @pytest.mark.parametrize(
        ("network", "hint"),
        [
            ("192.0.2.1", "write 192.0.2.1/32"),
            ("192.0.2.1/24", "write 192.0.2.0/24"),
            ("192.0.2.0/255.255.255.0", "write 192.0.2.0/24"),
            ("2001:DB8::/32", "write 2001:db8::/32"),
            ("::ffff:192.0.2.0/120", "write 192.0.2.0/24"),
            ("::ffff:c000:200/120", "write 192.0.2.0/24"),
            ("fe80::1%eth0/128", "is no network"),
            ("0300.0.2.0/24", "is no network"),
            ("example.org", "is no network"),
            ("192.0.2.0/33", "is no network"),
            ("__proto__", "is no network"),
        ],
    )
    async def test_only_canonical_networks(self, app: FastAPI, network: str, hint: str) -> None:
        async with running(app) as client:
            answer = await put(client, ["127.0.0.0/8", network])
            assert answer.status_code == 422
            assert hint in answer.text
            assert (await client.get(_ALLOWLIST, headers=BEARER)).json()["networks"] == []

    async def test_neither_too_many_nor_twice_nor_anything_else(self, app: FastAPI) -> None:
        most = ["127.0.0.0/8", *(f"10.0.{number}.0/24" for number in range(199))]
        async with running(app) as client:
            assert (await put(client, [*most, "10.1.0.0/16"])).status_code == 422
            assert (await put(client, ["127.0.0.0/8", "127.0.0.0/8"])).status_code == 422
            extra: dict[str, object] = {"networks": [], "strict": True}
            assert (await client.put(_ALLOWLIST, json=extra, headers={**BEARER, "if-match": "*"})).status_code == 422
            stored = await put(client, most)
            assert stored.json()["networks"] == most
            assert (await client.get(_ALLOWLIST, headers=BEARER)).json()["networks"] == most

    async def test_who_may(self, app: FastAPI) -> None:
        async with running(app) as client:
            editor, admin = await member(app, "editor"), await member(app, "admin")
            assert (await client.get(_ALLOWLIST, headers=editor.headers)).status_code == 403
            assert (await put(client, [], headers=editor.headers)).status_code == 403
            assert (await put(client, ["127.0.0.0/8"], headers=admin.headers)).status_code == 200
            assert (await client.get(_ALLOWLIST)).status_code == 401

    async def test_it_is_written_down(self, app: FastAPI, sidecar: FakeSidecar) -> None:
        async with running(app) as client:
            owner = await founder(app)
            await put(client, ["127.0.0.0/8"], headers=owner.headers)
            assert "allowlist.replaced" in await audited(app, sidecar, owner.organization)


class TestWhoIsShutOut:
    async def test_a_list_without_oneself_is_refused_unless_one_insists(self, edge: FastAPI) -> None:
        here, there = coming_from("192.0.2.7"), coming_from("198.51.100.1")
        async with running(edge) as client:
            refused = await put(client, ["198.51.100.0/24"], headers=here)
            assert refused.status_code == 409
            assert refused.json()["type"].endswith("/would-lock-you-out")
            assert refused.json()["address"] == "192.0.2.7"
            assert "?force=true" in refused.json()["detail"]
            assert (await client.get("/v1/me", headers=here)).status_code == 200, "nothing was changed"

            forced = await put(client, ["198.51.100.0/24"], headers=here, force=True)
            assert forced.status_code == 200
            assert (await client.get("/v1/me", headers=here)).status_code == 403
            assert (await client.get("/v1/me", headers=there)).status_code == 200

    async def test_it_holds_at_once_for_keys_and_logins_for_own_and_for_proxied_routes(self, edge: FastAPI) -> None:
        async with running(edge) as client:
            owner = await founder(edge)
            key = await member(edge, "editor", organization=owner.organization)
            inside = {"dapr-api-token": APP_API_TOKEN, "x-real-ip": "192.0.2.7"}
            outside = {"dapr-api-token": APP_API_TOKEN, "x-real-ip": "203.0.113.1"}
            for credential in (owner.headers, key.headers):  # both are known, and in the cache
                assert (await client.get("/v1/me", headers={**credential, **outside})).status_code == 200
            assert (await put(client, ["192.0.2.0/24"], headers={**owner.headers, **inside})).status_code == 200
            for credential in (owner.headers, key.headers):
                for path in ("/v1/me", "/v1/runs"):
                    refused = await client.get(path, headers={**credential, **outside})
                    assert refused.status_code == 403
                    assert refused.json()["type"].endswith("/address-not-admitted")
                    assert refused.json()["address"] == "203.0.113.1"
                    assert (await client.get(path, headers={**credential, **inside})).status_code == 200
            assert (await client.get("/v1/me", headers=BEARER)).status_code == 200, "other organizations have their own"

    async def test_only_our_own_sidecar_may_say_where_a_request_comes_from(self, edge: FastAPI) -> None:
        async with running(edge) as client:
            assert (await put(client, ["192.0.2.0/24"], headers=coming_from("192.0.2.7"))).status_code == 200
            for claim in ("x-real-ip", "x-forwarded-for", "forwarded", "crewmesh-client-address", "true-client-ip"):
                for token in ({}, {"dapr-api-token": "guess"}):
                    answer = await client.get("/v1/me", headers={**BEARER, **token, claim: "192.0.2.7"})
                    assert answer.status_code == 403, f"{claim} was believed"

    async def test_every_replica_knows_at_once(self, settings: Settings, sidecar: FakeSidecar) -> None:
        dapr = settings.dapr.model_copy(update={"app_api_token": SecretStr(APP_API_TOKEN)})
        # Remembered for longer than is waited for: who is refused then was told.
        settings = settings.model_copy(update={"dapr": dapr, "keys": KeySettings(cache_seconds=300)})
        async with (
            running(create_app(settings, sidecar)) as one,
            running(create_app(settings, sidecar)) as other,
        ):
            outside = coming_from("203.0.113.1")
            assert (await other.get("/v1/me", headers=outside)).status_code == 200
            await put(one, ["192.0.2.0/24"], headers=coming_from("192.0.2.7"))

            async def is_refused() -> bool:
                return (await other.get("/v1/me", headers=outside)).status_code == 403

            await until(is_refused)

    async def test_a_refused_address_uses_nothing_of_the_organization(self, edge: FastAPI) -> None:
        async with running(edge) as client:
            await put(client, ["192.0.2.0/24"], headers=coming_from("192.0.2.7"))
            refused = await client.get("/v1/me", headers=coming_from("203.0.113.1"))
            assert refused.headers["ratelimit-policy"].startswith('"address"')

    async def test_it_can_be_undone_in_the_database(self, edge: FastAPI) -> None:
        """The way back for who insisted and was wrong, as the guide says."""
        async with running(edge) as client:
            await put(client, ["198.51.100.0/24"], headers=coming_from("192.0.2.7"), force=True)
            await change(edge, "UPDATE organizations SET allowlist = '{}'")
        async with running(edge) as client:
            assert (await client.get("/v1/me", headers=coming_from("192.0.2.7"))).status_code == 200


@pytest.mark.parametrize(
    ("address", "admitted"),
    [
        ("192.0.2.7", True),
        ("::ffff:192.0.2.7", True),
        ("::ffff:c000:207", True),
        ("192.0.3.7", False),
        ("2001:db8::1", True),
        ("2001:db9::1", False),
        ("2001:db8::1%eth0", True),
        ("0300.0.2.7", False),
        ("192.0.2", False),
        ("unknown", False),
        ("", False),
    ],
)
def test_which_addresses_are_in(address: str, *, admitted: bool) -> None:
    assert admits([ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")], address) is admitted
