"""How working with the catalogue fails.

::

    Problem
    ├── NotFound ── ModelNotFound 404 (NotYourModel), AliasNotFound 404
    └── Conflict ── ModelNameTaken 409, ModelInUse 409
"""

from __future__ import annotations

from collections.abc import Sequence

from crewmesh_kit.errors import Conflict, NotFound


class ModelNotFound(NotFound):
    """There is no model of that name. ``GET /v1/models`` lists those there are."""

    slug, title = "model-not-found", "Model not found"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no model {name[:200]!r}; GET /v1/models lists those there are.")


class NotYourModel(ModelNotFound):
    """A model that is built in, or of the deployment, cannot be deleted; only what the organization says of it can."""

    slug, title = "not-your-model", "Not the organization's model"

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.detail = (
            f"The organization has said nothing of {name[:200]!r} that could be deleted: it is a model of all."
        )


class AliasNotFound(NotFound):
    """There is no alias of that name; or, to delete one, none that the organization made."""

    slug, title = "model-alias-not-found", "Alias not found"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no alias {name[:200]!r}; GET /v1/models/aliases lists those there are.")


class ModelNameTaken(Conflict):
    """A model cannot be called like an alias, nor an alias like a model. Choose another name."""

    slug, title = "model-name-taken", "Model name taken"

    def __init__(self, name: str, kind: str) -> None:
        super().__init__(f"{name[:200]!r} is the name of {kind} already; choose another name.")


class ModelInUse(Conflict):
    """An alias of the organization stands for this model, which would be gone. Change the alias first."""

    slug, title = "model-in-use", "Model in use"

    def __init__(self, name: str, aliases: Sequence[str]) -> None:
        super().__init__(
            f"{name[:200]!r} is asked under {', '.join(aliases)}. Take it out of there first: "
            "PUT /v1/models/aliases/{alias}."
        )
