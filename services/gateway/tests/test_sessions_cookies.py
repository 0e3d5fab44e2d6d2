"""Cookies that no other page can use: their flags, the CSRF token, the pages that may."""

from __future__ import annotations

import pytest
from crewmesh_gateway.main import create_app
from crewmesh_gateway.sessions.cookies import CSRF_COOKIE, REFRESH_COOKIE
from crewmesh_gateway.settings import Settings, TokenSettings
from crewmesh_testkit import FakeSidecar, running
from fastapi import FastAPI
from pydantic import ValidationError

from .gateway import bearer
from .logins import HERE, cookies_of, log_in, refreshed, sessions_of, somebody, with_cookie


@pytest.mark.parametrize(
    ("told", "secure"),
    [
        ({"public_url": "https://crewmesh.example"}, True),
        ({"public_url": "http://crewmesh.example"}, False),
        ({}, False),
        ({"environment": "production"}, True),
    ],
)
async def test_the_flags_of_both_cookies(
    settings: Settings, sidecar: FakeSidecar, told: dict[str, str], secure: bool
) -> None:
    app = create_app(settings.model_copy(update=told), sidecar)
    async with running(app) as client:
        await somebody(app, HERE)
        begun = await log_in(app)
        cookies = cookies_of(await refreshed(client, begun.refresh_token, begun.csrf_token))
    assert set(cookies) == {REFRESH_COOKIE, CSRF_COOKIE}
    flags = {"samesite=strict", *(["secure"] if secure else [])}
    assert without_age(cookies[REFRESH_COOKIE][1]) == {*flags, "httponly", "path=/v1/auth"}
    assert without_age(cookies[CSRF_COOKIE][1]) == {*flags, "path=/"}
    assert cookies[CSRF_COOKIE][0] == begun.csrf_token


def without_age(attributes: set[str]) -> set[str]:
    """What is left of a cookie's attributes, which keep it for a month less what passed since."""
    [age] = [each for each in attributes if each.startswith("max-age=")]
    assert 30 * 86_400 - 600 < int(age.removeprefix("max-age=")) < 30 * 86_400
    return attributes - {age}


async def test_a_cookie_alone_proves_nothing(app: FastAPI) -> None:
    async with running(app) as client:
        await somebody(app, HERE)
        begun, another = await log_in(app), await log_in(app)
        for path in ("/v1/auth/refresh", "/v1/auth/logout"):
            for csrf in (
                None,
                "",
                "wrong",
                another.csrf_token,
                begun.csrf_token[:-1],
                "ключ".encode().decode("latin-1"),
            ):
                answer = await with_cookie(client, path, begun.refresh_token, csrf)
                assert (answer.status_code, answer.json()["type"].rsplit("/")[-1]) == (403, "csrf-token-wrong"), csrf
                assert "set-cookie" not in answer.headers
        client.cookies.clear()
        bare = await client.post("/v1/auth/refresh", headers=bearer(begun.access_token))
        assert bare.status_code == 401, "what is not a cookie does not refresh"
        assert [row["revoked_at"] for row in await sessions_of(app)] == [None, None]
        assert (await refreshed(client, begun.refresh_token, begun.csrf_token)).status_code == 200


@pytest.mark.parametrize(
    ("public_url", "origin", "status"),
    [
        ("https://crewmesh.example", None, 200),
        ("https://crewmesh.example", "https://crewmesh.example", 200),
        ("https://crewmesh.example/deep/path", "https://crewmesh.example", 200),
        ("https://Crewmesh.example", "https://crewmesh.example", 200),
        ("https://crewmesh.example", "https://console.example:8443", 200),
        ("https://crewmesh.example", "http://crewmesh.example", 403),
        ("https://crewmesh.example", "https://crewmesh.example:8443", 403),
        ("https://crewmesh.example", "https://crewmesh.example.evil.test", 403),
        ("https://crewmesh.example", "https://evil.test", 403),
        ("https://crewmesh.example", "http://localhost:5173", 403),
        ("https://crewmesh.example", "null", 403),
        ("https://crewmesh.example", "", 403),
        ("", "http://localhost:5173", 200),
        ("", "http://127.0.0.1", 200),
        ("", "http://localhost.evil.test", 403),
        ("", "https://evil.test", 403),
        ("", "null", 403),
    ],
)
async def test_pages_that_may_use_cookies(
    settings: Settings, sidecar: FakeSidecar, public_url: str, origin: str | None, status: int
) -> None:
    update = {"public_url": public_url, "tokens": TokenSettings(origins=("https://console.example:8443",))}
    app = create_app(settings.model_copy(update=update), sidecar)
    async with running(app) as client:
        await somebody(app, HERE)
        begun = await log_in(app)
        headers = {} if origin is None else {"origin": origin}
        answer = await refreshed(client, begun.refresh_token, begun.csrf_token, **headers)
        assert answer.status_code == status
        if status == 403:
            assert answer.json()["type"].endswith("/origin-not-allowed")
            out = await with_cookie(client, "/v1/auth/logout", begun.refresh_token, begun.csrf_token, **headers)
            assert out.status_code == 403
            assert [row["revoked_at"] for row in await sessions_of(app)] == [None]


@pytest.mark.parametrize("origin", ["*", "console.example", "https://console.example/", "https://a.example b", "null"])
def test_origins_are_written_as_browsers_send_them(origin: str) -> None:
    with pytest.raises(ValidationError, match="https://console"):
        TokenSettings(origins=(origin,))
