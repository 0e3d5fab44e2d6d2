"""Why somebody who is known may not do what was asked, whatever it is.

::

    PermissionDenied
    ├── NotAPerson 403
    └── NoOrganization 403
"""

from __future__ import annotations

from crewmesh_kit.errors import PermissionDenied


class NotAPerson(PermissionDenied):
    """This belongs to a person's own account. Log in and use the access token; a key cannot do it."""

    slug, title = "not-a-person", "Not a person"

    def __init__(self) -> None:
        super().__init__("This is done by somebody who is logged in, not with an API key: POST /v1/auth/login.")


class NoOrganization(PermissionDenied):
    """This is done in an organization, and the login works in none: its person left the last one, was removed, or it
    was deleted. Accept an invitation or found an organization, then switch to it.
    """

    slug, title = "no-organization", "No organization"

    def __init__(self) -> None:
        super().__init__(
            "Your login works in no organization. Accept an invitation (POST /v1/invitations/accept) or found an "
            "organization (POST /v1/organizations), then switch to it: POST /v1/auth/organization."
        )
