"""What is told about members who cannot be changed, removed or let go as asked."""

from __future__ import annotations

from crewmesh_kit.errors import Conflict, NotFound, PermissionDenied


class UnknownMember(NotFound):
    """Nobody with this id belongs to the organization."""

    def __init__(self, user: str) -> None:
        super().__init__(f"There is no member {user[:60]!r} here. GET /v1/members lists those there are.")


class LastOwner(Conflict):
    """An organization always has an owner. Make somebody else the owner first: POST /v1/organization/transfer."""

    slug, title = "last-owner", "Last owner"

    def __init__(self) -> None:
        super().__init__(
            "This is the organization's only owner. Hand it over first (POST /v1/organization/transfer), or make "
            "another member an owner too (PATCH /v1/members/{user})."
        )


class NotTheOwner(PermissionDenied):
    """Only an owner hands an organization over."""

    slug, title = "not-the-owner", "Not the owner"

    def __init__(self) -> None:
        super().__init__("Only an owner hands an organization over, and you are none (any more).")


class OwnerAlready(Conflict):
    """The organization cannot be handed over to oneself."""

    slug, title = "owner-already", "Owner already"

    def __init__(self) -> None:
        super().__init__("You are the owner already. Name another member.")


class NoLongerAllowed(PermissionDenied):
    """Whoever asked was removed from the organization, or may do less in it, since the request began."""

    slug, title = "no-longer-allowed", "No longer allowed"

    def __init__(self) -> None:
        super().__init__(
            "What you may do in this organization changed a moment ago, and this is not among it any more."
        )
