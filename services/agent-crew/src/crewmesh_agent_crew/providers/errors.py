"""How working with accounts at providers fails.

::

    Problem
    ├── NotFound ── UnknownProvider 404
    ├── Conflict ── ProviderExists 409, ProviderOfTheDeployment 409
    └── ValidationFailed ── UnusableProvider 422
"""

from __future__ import annotations

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.errors import Conflict, NotFound, ValidationFailed


class UnknownProvider(NotFound):
    """The organization has no account of that name."""

    slug, title = "unknown-provider", "Unknown provider"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no account {name[:100]!r} at a provider; GET /v1/providers lists those there are.")


class ProviderExists(Conflict):
    """The organization has an account of that name already. Change that one, or use another name."""

    slug, title = "provider-exists", "Provider exists"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is an account {name!r} already. Change it with PUT, or choose another name.")


class ProviderOfTheDeployment(Conflict):
    """The account is the operator's. It is changed in the settings of the agent-crew service; add one of your own."""

    slug, title = "provider-of-the-deployment", "Provider of the deployment"

    def __init__(self, name: str) -> None:
        super().__init__(f"The account {name!r} belongs to the deployment. Add one of your own under another name.")


class UnusableProvider(ValidationFailed):
    """Something about the account cannot work, or must not be; ``errors`` says what."""

    slug, title = "unusable-provider", "Unusable provider"

    def __init__(self, field: str, why: str) -> None:
        place: JsonObject = {"path": f"body.{field}", "message": why}
        super().__init__(f"The account cannot be kept like this: {field}: {why}.", errors=[place])
