"""People and their logins, without the way they prove who they are."""

from __future__ import annotations

import httpx2
from crewmesh_gateway.sessions.cookies import CSRF_COOKIE, REFRESH_COOKIE
from crewmesh_gateway.sessions.models import Begun
from crewmesh_gateway.sessions.service import Sessions
from crewmesh_kit.db.database import Database
from crewmesh_kit.origin import Origin
from fastapi import FastAPI
from psycopg.rows import DictRow

from .gateway import bearer, until
from .inside import held, rows

USER = "usr_" + "a" * 32
HERE, ELSEWHERE = "org_" + "1" * 32, "org_" + "2" * 32


async def somebody(app: FastAPI, *organizations: str, user: str = USER, role: str = "editor") -> None:
    """A person who belongs to these organizations, in this order."""
    async with held(app, Database).system() as conn:
        await conn.execute("INSERT INTO users (id, name) VALUES (%s, 'Ada')", [user])
        for place, organization in enumerate(organizations):
            await conn.execute(
                "INSERT INTO organizations (id, name) VALUES (%s, 'Somewhere') ON CONFLICT DO NOTHING", [organization]
            )
            await conn.execute(
                "INSERT INTO memberships (org_id, user_id, role, created_at)"
                " VALUES (%s, %s, %s, now() + %s * interval '1 second')",
                [organization, user, role, place],
            )


async def log_in(app: FastAPI, *, user: str = USER, organization: str | None = HERE) -> Begun:
    async with held(app, Database).system() as conn:
        origin = Origin("192.0.2.7", "a browser")
        return await held(app, Sessions).begin(conn, user=user, organization=organization, origin=origin)


async def with_cookie(
    client: httpx2.AsyncClient, path: str, refresh_token: str, csrf: str | None, **headers: str
) -> httpx2.Response:
    """A POST as a browser sends it that holds the login's cookies."""
    client.cookies.clear()
    sent = {"cookie": f"theme=dark; {REFRESH_COOKIE}={refresh_token}; {CSRF_COOKIE}=whatever", **headers}
    if csrf is not None:
        sent["x-csrf-token"] = csrf
    raw = [(name.encode(), value.encode("latin-1")) for name, value in sent.items()]
    return await client.post(path, headers=raw)


async def refreshed(
    client: httpx2.AsyncClient, refresh_token: str, csrf: str | None, **headers: str
) -> httpx2.Response:
    return await with_cookie(client, "/v1/auth/refresh", refresh_token, csrf, **headers)


async def refused(client: httpx2.AsyncClient, access_token: str) -> None:
    """Wait until the access token opens nothing any more; it is remembered for longer than that is waited for."""

    async def closed() -> bool:
        return (await client.get("/v1/me", headers=bearer(access_token))).status_code == 401

    await until(closed)


def cookies_of(answer: httpx2.Response) -> dict[str, tuple[str, set[str]]]:
    """The cookies that an answer sets: by name the value and the attributes in lower case."""
    found: dict[str, tuple[str, set[str]]] = {}
    for header in answer.headers.get_list("set-cookie"):
        pair, *attributes = header.split(";")
        name, _, value = pair.partition("=")
        found[name] = (value.strip('"'), {attribute.strip().lower() for attribute in attributes})
    return found


def next_token(answer: httpx2.Response) -> str:
    return cookies_of(answer)[REFRESH_COOKIE][0]


async def sessions_of(app: FastAPI) -> list[DictRow]:
    return await rows(app, "SELECT * FROM sessions ORDER BY id")
