"""The two cookies of a login: the refresh token, for the server alone, and the CSRF token, for our pages to read."""

from __future__ import annotations

from datetime import UTC, datetime

from starlette.responses import Response

from crewmesh_gateway.sessions.models import Begun

REFRESH_COOKIE = "crewmesh_refresh"
REFRESH_PATH = "/v1/auth"
CSRF_COOKIE = "crewmesh_csrf"


def give(response: Response, begun: Begun) -> None:
    """Let the browser keep the login."""
    seconds = int((begun.refresh_expires_at - datetime.now(UTC)).total_seconds())
    for name, value, path, hidden in (
        (REFRESH_COOKIE, begun.refresh_token, REFRESH_PATH, True),
        (CSRF_COOKIE, begun.csrf_token, "/", False),
    ):
        response.set_cookie(
            name,
            value,
            max_age=seconds,
            path=path,
            secure=begun.over_https,
            httponly=hidden,
            samesite="strict",
        )
    keep_private(response)


def take_back(response: Response) -> None:
    """Let the browser forget the login."""
    response.delete_cookie(REFRESH_COOKIE, path=REFRESH_PATH, httponly=True, samesite="strict")
    response.delete_cookie(CSRF_COOKIE, path="/", samesite="strict")
    keep_private(response)


def keep_private(response: Response) -> None:
    """No cache on the way keeps an answer with tokens."""
    response.headers["Cache-Control"] = "no-store"
