"""What is told about organizations that cannot be changed as asked."""

from __future__ import annotations

from datetime import datetime

from crewmesh_kit.errors import Conflict, NotFound, PermissionDenied


class OrganizationGone(NotFound):
    """The organization was deleted for good a moment ago."""

    def __init__(self) -> None:
        super().__init__("The organization was deleted for good. Switch to another one: GET /v1/organizations.")


class OrganizationDeleting(Conflict):
    """The organization is deleted: until it is gone for good it can be read, exported and restored, not changed."""

    slug, title = "organization-deleting", "Organization is being deleted"

    def __init__(self, delete_after: datetime | None) -> None:
        when = delete_after.isoformat() if delete_after else None
        super().__init__(
            f"The organization is deleted and will be gone for good{f' at {when}' if when else ' soon'}. Until then it "
            "can only be read. Whoever may delete it can bring it back: POST /v1/organization/restore.",
            delete_after=when,
        )


class ConfirmationWrong(Conflict):
    """What was sent as confirmation is not the organization's name. Read it with GET /v1/organization."""

    slug, title = "confirmation-wrong", "Confirmation wrong"

    def __init__(self) -> None:
        super().__init__("Send the organization's name in confirm, exactly as GET /v1/organization shows it.")


class TooManyOrganizations(PermissionDenied):
    """This person owns as many organizations as one may; or none are founded here, other than by signing up."""

    slug, title = "too-many-organizations", "Too many organizations"

    def __init__(self, most: int) -> None:
        many = f"You own {most} organizations, which is the most one person may. Hand one over or delete one first."
        none = (
            "Nobody founds organizations here. Ask for an invitation to one, or ask the operator of this installation."
        )
        super().__init__(many if most else none, most=most)
