"""How sharing refuses."""

from __future__ import annotations

from crewmesh_kit.errors import PermissionDenied
from crewmesh_kit.sharing.models import Need


class LevelMissing(PermissionDenied):
    """One may see this resource, but not do this with it: ``level`` is missing. Who manages access can grant it."""

    slug, title = "level-missing", "Level missing"

    def __init__(self, need: Need, resource: str) -> None:
        super().__init__(
            f"You may see this {need.kind.called}, but this needs the level {need.level} on it. Somebody with the "
            f"permission access:manage can grant it: PUT /v1/{need.kind.path}/{resource}/access.",
            level=need.level,
            resource=resource,
        )
