"""Request headers that several routes read."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from fastapi import Header

IfNoneMatch: TypeAlias = Annotated[
    str | None, Header(description="ETag of the version the caller has; it gets 304 while that is current.")
]
