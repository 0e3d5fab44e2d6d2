"""What can be wrong with the id of a document."""

from __future__ import annotations

from crewmesh_kit.errors import NotFound


class UnknownDocument(NotFound):
    """The knowledge base has no document of this id; it may have been deleted."""

    slug, title = "unknown-document", "Unknown document"

    def __init__(self, base: str, id_: str) -> None:
        super().__init__(
            f"There is no document {id_} in the knowledge base {base!r}. "
            f"GET /v1/knowledge-bases/{base}/documents lists those there are."
        )
