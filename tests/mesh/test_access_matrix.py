"""Every route as everybody: what is answered follows from the catalogue of permissions, and from nothing else.

The routes are read from the public description, so that a new one is asked as everybody without a word here. Nothing
that is asked for exists: who may ask is told so, who may not is not told even that.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
import pytest_asyncio
from crewmesh_contracts import permissions
from crewmesh_testkit.identities import EDGE_TOKEN
from crewmesh_testkit.mesh import JsonDict, MeshClient, MeshProcess
from crewmesh_testkit.people import signed_up
from crewmesh_testkit.polling import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

_DOCUMENT = Path(__file__).resolve().parents[2] / "docs/reference/openapi.json"
_METHODS = ("get", "post", "put", "patch", "delete")
_PARAMETER = re.compile(r"\{([^}]+)\}")
_SCOPE = "runs:read"
_ROLES = ("viewer", "editor", "admin")


@dataclass(frozen=True)
class Route:
    method: str
    path: str
    permission: str | None
    public: bool

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(frozen=True)
class Caller:
    """Somebody, and what they may do; nothing when nobody knows them."""

    name: str
    credential: str | None
    permissions: frozenset[str] | None

    def may(self, permission: str) -> bool:
        held = self.permissions or frozenset()
        return permissions.EVERYTHING in held or permission in held


def _routes() -> Iterator[Route]:
    document = cast(JsonDict, json.loads(_DOCUMENT.read_text()))
    for path, operations in document["paths"].items():
        for method in _METHODS:
            if operation := operations.get(method):
                yield Route(method.upper(), path, operation.get("x-permission"), operation.get("security") == [])


# Streams without an end: whoever is let in would be told for ever. Their lists need the same permission.
_ENDLESS = frozenset({"/v1/agents/statuses/events"})
ROUTES = [route for route in _routes() if route.path not in _ENDLESS]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def callers(mesh: MeshProcess) -> AsyncGenerator[list[Caller]]:
    async with mesh.client() as owner:
        made = [
            Caller("the owner's key", mesh.credentials.api_key, permissions.of_role("owner")),
            Caller("anonymous", None, None),
            Caller("a key that nobody made", "cm_live_000000000000_" + "0" * 49, None),
            Caller("a token that nobody signed", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1c3JfMSJ9.", None),
        ]
        for role in _ROLES:
            key = await _key(owner, await _service_account(owner, role), sorted(permissions.of_role(role)))
            made.append(Caller(f"the key of a {role}", key["key"], permissions.of_role(role)))
        editor = await _service_account(owner, "editor")
        scoped = await _key(owner, editor, [_SCOPE])
        made.append(Caller("a key with one scope", scoped["key"], frozenset({_SCOPE})))
        custom = await owner.post("/v1/roles", {"name": "Matrix", "permissions": ["audit:read"]})
        key = await _key(owner, await _service_account(owner, custom.body["id"]), ["audit:read"])
        made.append(Caller("the key of a custom role", key["key"], frozenset({"audit:read"})))
        revoked = await _key(owner, editor, [_SCOPE])
        await owner.request("DELETE", f"/v1/api-keys/{revoked['id']}")
        made.append(Caller("a revoked key", revoked["key"], None))
        # Far enough ahead to be accepted however long the way there takes.
        soon = datetime.now(UTC) + timedelta(seconds=15)
        expired = await _key(owner, editor, [_SCOPE], expires_at=soon.isoformat())
        made.append(Caller("an expired key", expired["key"], None))
        person = await signed_up(mesh, "matrix@example.org", organization="Elsewhere")
        # A login would end with the first route that logs out.
        async with MeshClient(mesh.credentials.api_url, person.access_token) as other:
            wanted = {"name": "matrix", "scopes": sorted(permissions.BY_NAME)}
            key = (await other.post("/v1/api-keys", wanted)).body["key"]
        made.append(Caller("the key of another organization's owner", key, frozenset(permissions.BY_NAME)))
        await asyncio.gather(*(_refused(mesh, key["key"]) for key in (revoked, expired)))
        yield made


async def _refused(mesh: MeshProcess, key: str) -> None:
    """Until the key is good for nothing any more."""
    async with mesh.client(key=key) as client:

        async def refused() -> bool:
            return (await client.get("/v1/runs")).status == 401

        await until(refused, seconds=60, every=0.2, what="a key to have ended")


async def _service_account(owner: MeshClient, role: str) -> str:
    name = f"matrix {role} {datetime.now(UTC).timestamp()}"
    made = await owner.post("/v1/service-accounts", {"name": name, "role": role})
    assert made.status == 201, made.body
    return str(made.body["id"])


async def _key(owner: MeshClient, service_account: str, scopes: list[str], **more: str) -> JsonDict:
    wanted = {"name": "matrix", "service_account": service_account, "scopes": scopes, **more}
    made = await owner.post("/v1/api-keys", wanted)
    assert made.status == 201, made.body
    return made.body


@pytest.mark.parametrize("route", ROUTES, ids=str)
async def test_who_may_use_a_route(mesh: MeshProcess, callers: list[Caller], route: Route) -> None:
    wrong = [complaint for caller in callers if (complaint := await _complaint(mesh, route, caller))]
    assert wrong == []


async def _complaint(mesh: MeshProcess, route: Route, caller: Caller) -> str | None:
    path = _PARAMETER.sub("org_00000000000000000000000000000000", route.path)
    # From an address of its own, as the edge would tell it: who guesses often from one has to wait.
    address = f"10.{random.randrange(256)}.{random.randrange(256)}.{random.randrange(256)}"
    headers = {"content-type": "application/json", "crewmesh-edge-token": EDGE_TOKEN, "x-real-ip": address}
    if caller.credential is not None:
        headers["authorization"] = f"Bearer {caller.credential}"
    body = None if route.method in ("GET", "DELETE") else b"{}"
    async with MeshClient(mesh.credentials.api_url, None) as client:
        answer = await client.request(route.method, path, body=body, headers=headers)
    expected = _expected(route, caller)
    said = f"{caller.name}: {answer.status} {answer.body.get('type', '')} {answer.body.get('permission', '')}"
    if answer.status >= 500:
        return said
    if expected is None:
        denied = answer.status == 401 or (answer.status == 403 and "permission" in answer.body)
        return f"{said}, though it may" if denied and not route.public else None
    if answer.status != expected:
        return f"{said}, expected {expected}"
    if expected == 403 and answer.body.get("permission") != route.permission:
        return f"{said}, expected to be told of {route.permission}"
    return None


def _expected(route: Route, caller: Caller) -> int | None:
    """The status of a refusal; none where the caller is let in, whatever comes of it."""
    if route.public:
        return None
    if caller.permissions is None:
        return 401
    if route.permission is not None and not caller.may(route.permission):
        return 403
    return None


async def test_routes_ask_for_permissions_of_the_catalogue() -> None:
    asked = {route.permission for route in ROUTES} - {None}
    assert asked <= set(permissions.BY_NAME)
    assert len(asked) > len(permissions.BY_NAME) * 0.9, "few are asked for by what is in the request alone"
