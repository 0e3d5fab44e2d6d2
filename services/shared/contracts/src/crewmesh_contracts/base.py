"""The one base of everything that crosses a process: frozen, closed to unknown fields, JSON in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from pydantic import BaseModel, ConfigDict
from typing_extensions import TypeAliasType

JsonScalar: TypeAlias = str | int | float | bool | None
# A recursive alias; type checkers follow it when written plainly, pydantic wants it named.
if TYPE_CHECKING:
    JsonValue: TypeAlias = "JsonScalar | list[JsonValue] | dict[str, JsonValue]"
else:
    JsonValue = TypeAliasType("JsonValue", "JsonScalar | list[JsonValue] | dict[str, JsonValue]")
JsonObject: TypeAlias = dict[str, JsonValue]


class Contract(BaseModel):
    """A frozen message. Unknown fields are refused, so that a misspelt one is an error and never silence."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Reply(BaseModel):
    """A frozen answer. Unknown fields are ignored, so that a newer service may add some under an older caller."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


def is_empty(value: object) -> bool:
    """For ``exclude_if``: a message that makes no use of a newer member is to the letter what it was before."""
    return not value
