"""Members and their keys, written where the gateway finds them; and what keys are asked for by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from crewmesh_gateway.api_keys.models import PresentedKey
from crewmesh_kit.db.database import Database
from crewmesh_kit.ids import new_id
from crewmesh_kit.resources import Resources
from fastapi import FastAPI

Json = dict[str, object]


def resources_of(app: FastAPI) -> Resources:
    return cast(Resources, app.state.resources)


def database_of(app: FastAPI) -> Database:
    return resources_of(app).get(Database)


@dataclass(frozen=True)
class Member:
    """Somebody with a key that may do what the role does."""

    organization: str
    user: str
    key_id: str
    key: PresentedKey

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key.text}"}


async def organization_of(app: FastAPI) -> str:
    """The one that the first start founded."""
    rows = await database_of(app).statement(b"SELECT id FROM organizations ORDER BY created_at, id LIMIT 1")
    return rows[0]["id"]


async def another_organization(app: FastAPI) -> str:
    organization = new_id("org")
    async with database_of(app).system() as conn:
        await conn.execute("INSERT INTO organizations (id, name) VALUES (%s, 'Another')", [organization])
    return organization


async def member(app: FastAPI, role: str, *, organization: str | None = None, scopes: Sequence[str] = ("*",)) -> Member:
    """A new member of the first organization, or of another one."""
    joined = Member(organization or await organization_of(app), new_id("usr"), new_id("key"), PresentedKey.generate())
    async with database_of(app).system() as conn:
        await conn.execute("INSERT INTO users (id, name) VALUES (%s, %s)", [joined.user, role])
        await conn.execute(
            "INSERT INTO memberships (org_id, user_id, role) VALUES (%s, %s, %s)",
            [joined.organization, joined.user, role],
        )
        await conn.execute(
            "INSERT INTO api_keys (id, org_id, user_id, name, prefix, secret_sha256, permissions)"
            " VALUES (%s, %s, %s, 'k', %s, %s, %s)",
            [
                joined.key_id,
                joined.organization,
                joined.user,
                joined.key.prefix,
                joined.key.digest(),
                list(scopes),
            ],
        )
    return joined


def bearer(key: object) -> dict[str, str]:
    """For the ``key`` of an answer that shows one."""
    return {"authorization": f"Bearer {key}"}
