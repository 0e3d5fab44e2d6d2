"""Organizations and the people in them, each with a login, as the tests of both need them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import cast

from crewmesh_gateway.mail.repository import MailRow
from crewmesh_gateway.mail.service import Mailer
from crewmesh_gateway.organizations.founding import found
from crewmesh_gateway.sessions.service import Sessions
from crewmesh_kit.db.database import Database
from crewmesh_kit.ids import new_id
from crewmesh_kit.origin import Origin
from crewmesh_testkit import FakeSidecar
from fastapi import FastAPI

from .gateway import bearer, until
from .inside import change, held, rows


@dataclass(frozen=True)
class Somebody:
    """A person, and the headers of their login in the organization they were made for."""

    id: str
    email: str
    organization: str
    headers: dict[str, str]


async def newcomer(app: FastAPI, name: str = "Ada", *, email: str | None = None, verified: bool = True) -> str:
    """Somebody with an account who belongs to no organization."""
    user = new_id("usr")
    await change(
        app,
        "INSERT INTO users (id, name, email, email_verified_at) VALUES (%s, %s, %s, CASE WHEN %s THEN now() END)",
        user,
        name,
        email or f"{user}@example.org",
        verified,
    )
    return user


async def logged_in(app: FastAPI, user: str, organization: str) -> Somebody:
    async with held(app, Database).system() as conn:
        begun = await held(app, Sessions).begin(conn, user=user, organization=organization, origin=Origin())
    [row] = await rows(app, "SELECT email FROM users WHERE id = %s", user)
    return Somebody(user, row["email"], organization, bearer(begun.access_token))


async def founder(app: FastAPI, organization: str = "Hill and Daughters", *, name: str = "Olga") -> Somebody:
    """The owner of a new organization."""
    user = await newcomer(app, name)
    async with held(app, Database).system() as conn:
        founded = await found(conn, name=organization, owner=user)
    return await logged_in(app, user, founded)


async def member(
    app: FastAPI, organization: str, role: str, *, name: str = "Mia", email: str | None = None
) -> Somebody:
    user = await newcomer(app, name, email=email)
    await change(app, "INSERT INTO memberships (org_id, user_id, role) VALUES (%s, %s, %s)", organization, user, role)
    return await logged_in(app, user, organization)


async def mails(app: FastAPI) -> list[tuple[str, str, str]]:
    """What waits to be delivered: to whom, subject, text; the oldest first."""
    mailer = held(app, Mailer)
    found = await rows(app, "SELECT id, sealed, created_at, attempts FROM mails ORDER BY id")
    opened = [
        mailer.opened(MailRow(each["id"], bytes(each["sealed"]), each["created_at"], each["attempts"])).mail
        for each in found
    ]
    return [(mail.to, mail.subject, mail.text) for mail in opened]


async def last_token(app: FastAPI) -> str:
    """The token in the latest mail."""
    *_, (_, _, text) = await mails(app)
    match = re.search(r"token=([A-Za-z0-9_-]+)", text)
    assert match is not None
    return match[1]


async def audited(app: FastAPI, sidecar: FakeSidecar, organization: str) -> list[str]:
    """The actions that were written down for the organization, once all of them have left."""

    async def left() -> bool:
        return not await rows(app, "SELECT 1 AS one FROM outbox WHERE org_id = %s", organization)

    await until(left)
    lines = [cast("dict[str, str]", event.data) for event in sidecar.published_on("audit")]
    return [line["action"] for line in lines if line["organization"] == organization]
