"""Members and their keys, written where the gateway finds them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crewmesh_gateway.api_keys.models import PresentedKey
from crewmesh_kit.ids import new_id
from fastapi import FastAPI

from .gateway import bearer
from .inside import change, rows

Json = dict[str, object]


@dataclass(frozen=True)
class Member:
    """Somebody with a key that may do what the role does."""

    organization: str
    user: str
    key_id: str
    key: PresentedKey

    @property
    def headers(self) -> dict[str, str]:
        return bearer(self.key.text)


async def organization_of(app: FastAPI) -> str:
    """The one that the first start founded."""
    [first, *_] = await rows(app, "SELECT id FROM organizations ORDER BY created_at, id LIMIT 1")
    return first["id"]


async def another_organization(app: FastAPI) -> str:
    organization = new_id("org")
    await change(app, "INSERT INTO organizations (id, name) VALUES (%s, 'Another')", organization)
    return organization


async def member(app: FastAPI, role: str, *, organization: str | None = None, scopes: Sequence[str] = ("*",)) -> Member:
    """A new member of the first organization, or of another one."""
    user, organization = new_id("usr"), organization or await organization_of(app)
    await change(app, "INSERT INTO users (id, name) VALUES (%s, %s)", user, role)
    await change(app, "INSERT INTO memberships (org_id, user_id, role) VALUES (%s, %s, %s)", organization, user, role)
    return await with_key(app, organization, user, scopes=scopes)


async def with_key(app: FastAPI, organization: str, user: str, *, scopes: Sequence[str] = ("*",)) -> Member:
    """Somebody who is a member already."""
    joined = Member(organization, user, new_id("key"), PresentedKey.generate())
    await change(
        app,
        "INSERT INTO api_keys (id, org_id, user_id, name, prefix, secret_sha256, permissions)"
        " VALUES (%s, %s, %s, 'k', %s, %s, %s)",
        joined.key_id,
        organization,
        user,
        joined.key.prefix,
        joined.key.digest(),
        list(scopes),
    )
    return joined
