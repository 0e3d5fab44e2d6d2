"""What is said about retention over HTTP."""

from __future__ import annotations

from typing import Annotated

from crewmesh_contracts.base import Contract, Reply
from pydantic import Field

Days = Annotated[int, Field(ge=1, le=36_500, examples=[90])]


class RetentionPolicy(Reply):
    kind: str
    about: str
    least_days: int = Field(description="Fewer days than this cannot be asked for.")
    days: int | None = Field(description="None: as long as the service, or the workflow, says.")


class RetentionPolicies(Reply):
    items: tuple[RetentionPolicy, ...]


class RetentionChange(Contract):
    days: Days | None = Field(description="Forget what is older. None: as long as the service, or the workflow, says.")


class PreviewRequest(Contract):
    kind: str = Field(max_length=60, examples=["runs"])
    days: Days


class RetentionPreview(Reply):
    """What would be forgotten at once, if this were the policy."""

    kind: str
    days: int
    count: int
