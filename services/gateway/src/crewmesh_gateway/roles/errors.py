"""What is told about roles that cannot be made, changed, given or deleted as asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from crewmesh_contracts.permissions import EVERYTHING
from crewmesh_kit.errors import Conflict, NotFound, PermissionDenied


class MoreThanYouHold(PermissionDenied):
    """Nobody gives, changes or takes away more than they may do themselves. The answer names what is missing."""

    slug, title = "more-than-you-hold", "More than you hold"

    def __init__(self, missing: Iterable[str]) -> None:
        names = sorted(missing)
        what = "everything, as only an owner may" if EVERYTHING in names else ", ".join(names)
        super().__init__(
            f"This is about permissions that you do not hold yourself: {what}. Ask somebody who does.",
            permissions=[*names],
        )


class UnknownRole(NotFound):
    """There is no role with this id in the organization."""

    def __init__(self, role: str) -> None:
        super().__init__(f"There is no role {role[:60]!r} here. GET /v1/roles lists those there are.", role=role[:100])


class RoleExists(Conflict):
    """The organization has a role with this name already."""

    slug, title = "role-exists", "Role exists"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is a role called {name!r} already. Change that one, or choose another name.")


class BuiltInRole(Conflict):
    """The built-in roles are the same everywhere and cannot be changed. Make a custom role instead."""

    slug, title = "built-in-role", "Built-in role"

    def __init__(self, role: str) -> None:
        super().__init__(f"{role} is a built-in role, which never changes. Make a role of your own: POST /v1/roles.")


class RoleInUse(Conflict):
    """Somebody has this role. Give those another one first."""

    slug, title = "role-in-use", "Role in use"

    def __init__(self, users: Mapping[str, int]) -> None:
        told = ", ".join(f"{number} {what.replace('_', ' ')}" for what, number in users.items() if number)
        super().__init__(
            f"This role is had by: {told}. Give them another role (GET /v1/members?role=… lists the members), "
            "then delete it.",
            users={**users},
        )
