"""What every named definition has, and the texts in it."""

from __future__ import annotations

from typing import Annotated, TypeAlias, TypeVar

from crewmesh_contracts.base import Contract
from crewmesh_contracts.ids import Slug
from pydantic import Field, StringConstraints

# PostgreSQL stores any character but NUL.
Text: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]
# Shown as a name: one line, and nothing that turns the direction of what is written around it.
Line: TypeAlias = Annotated[
    str, StringConstraints(pattern=r"^[^\x00-\x1F\x7F\u2028\u2029\u202A-\u202E\u2066-\u2069]*$")
]


class Definition(Contract):
    """``name`` is what others refer to it by, so it stays what it is. ``tags``: to find it, and for policies."""

    name: Slug
    description: Annotated[Text, Field(max_length=1_000)] = ""
    tags: Annotated[tuple[Slug, ...], Field(max_length=50)] = ()


DefinitionT = TypeVar("DefinitionT", bound=Definition)
