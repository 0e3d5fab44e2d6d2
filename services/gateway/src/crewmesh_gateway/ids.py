"""Ids as callers send them."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import StringConstraints

# Of anything that is looked up by what a caller sent: what cannot be an id is refused before it reaches a statement.
IdText: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[!-~]{1,100}$")]
