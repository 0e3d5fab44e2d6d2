"""Request headers that several routes read."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from fastapi import Header

IfMatch: TypeAlias = Annotated[
    str | None, Header(description="ETag of the version this change is meant for, or * for any.")
]
