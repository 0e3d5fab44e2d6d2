"""What is told about service accounts that are not there or cannot be made as asked."""

from __future__ import annotations

from crewmesh_kit.errors import Conflict, NotFound


class UnknownServiceAccount(NotFound):
    """There is no service account with this id in the organization."""

    def __init__(self, account: str) -> None:
        super().__init__(
            f"There is no service account {account!r} here. GET /v1/service-accounts lists those there are."
        )


class ServiceAccountExists(Conflict):
    """The organization has a service account with this name already."""

    slug, title = "service-account-exists", "Service account exists"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is a service account called {name!r} already. Use that one, or choose another name.")
