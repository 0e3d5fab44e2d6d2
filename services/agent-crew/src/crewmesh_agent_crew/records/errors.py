"""How working with records fails, whatever they are."""

from __future__ import annotations

from collections.abc import Sequence

from crewmesh_kit.errors import Conflict, NotFound, ValidationFailed


class UnknownRecordVersion(NotFound):
    """There is no version of this number."""

    slug, title = "unknown-version", "Unknown version"

    def __init__(self, path: str, name: str, version: int) -> None:
        super().__init__(f"There is no version {version}; GET /v1/{path}/{name}/versions lists all.")


class NameStays(ValidationFailed):
    """Others refer to it by its name, so it keeps that. Create another one under the new name."""

    slug, title = "name-stays", "Name stays"

    def __init__(self, noun: str, name: str, wanted: str) -> None:
        super().__init__(
            f"The {noun} is called {name!r} and stays so, for others refer to it by that name. Create {wanted!r} anew."
        )


class StillUsed(Conflict):
    """Something refers to it, so it cannot be archived. Change those first; ``used_by`` names them."""

    slug, title = "still-used", "Still used"

    def __init__(self, noun: str, name: str, users: Sequence[str]) -> None:
        super().__init__(
            f"The {noun} {name!r} is used by {', '.join(users)}. Change or archive those first.", used_by=[*users]
        )


class Archived(Conflict):
    """It is archived, so it cannot be changed. Restore it first."""

    slug, title = "archived", "Archived"

    def __init__(self, noun: str, path: str, id_: str) -> None:
        super().__init__(f"This {noun} is archived. Restore it first: POST /v1/{path}/{id_}/restore.")
