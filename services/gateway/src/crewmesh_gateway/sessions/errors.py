"""What is wrong with a login, or with who wants to use it."""

from __future__ import annotations

from crewmesh_kit.errors import NotFound, PermissionDenied, Unauthenticated


class SessionEnded(Unauthenticated):
    """There is no login behind the cookie, or it has ended: by logging out, by its age, or because an old refresh token
    of it came back, which happens when somebody has a copy. Log in again.
    """

    slug, title = "session-ended", "Login ended"

    def __init__(self) -> None:
        super().__init__("There is no login here that still holds. Log in again: POST /v1/auth/login.")


class CsrfTokenWrong(PermissionDenied):
    """A request that a cookie proves must also carry the header X-CSRF-Token with the value of the cookie
    crewmesh_csrf, which only our own pages can read.
    """

    slug, title = "csrf-token-wrong", "CSRF token missing or wrong"

    def __init__(self) -> None:
        super().__init__("Send the header X-CSRF-Token with the csrf_token of this login (the cookie crewmesh_csrf).")


class OriginNotAllowed(PermissionDenied):
    """The request comes from a web page of another origin, which may not use logins. Operators list further origins in
    CREWMESH_TOKENS__ORIGINS.
    """

    slug, title = "origin-not-allowed", "Origin not allowed"

    def __init__(self) -> None:
        super().__init__(
            "Pages of this origin may not use logins. An operator may allow it: CREWMESH_PUBLIC_URL names the own "
            "pages, CREWMESH_TOKENS__ORIGINS further ones."
        )


class NoSuchSession(NotFound):
    def __init__(self) -> None:
        super().__init__("You have no such login. GET /v1/me/sessions lists yours.")


class NotAMember(NotFound):
    def __init__(self) -> None:
        super().__init__("You belong to no such organization. GET /v1/organizations lists yours.")
