"""What changes to resources have in common."""

from __future__ import annotations

from typing import ClassVar, Self

from crewmesh_contracts.base import Contract
from pydantic import model_validator


class Change(Contract):
    """What is to be different; what is left away stays as it is."""

    # What null empties; everything else cannot be without a value.
    may_be_null: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="after")
    def _nothing_else_is_taken_away(self) -> Self:
        nulls = [name for name in self.model_fields_set - self.may_be_null if getattr(self, name) is None]
        if nulls:
            raise ValueError(f"{' and '.join(sorted(nulls))} must not be null; leave it away to keep what there is")
        return self
