"""What is said about exports over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from crewmesh_contracts.base import Reply
from pydantic import Field


class Export(Reply):
    id: str
    status: Literal["queued", "running", "done", "failed", "expired"]
    requested_by: str
    service: str | None = Field(description="The service that is being asked; none before and after.")
    rows: int = Field(description="How many rows were gathered so far.")
    bytes: int = Field(description="How large the compressed file is so far.")
    error: str | None
    created_at: datetime
    finished_at: datetime | None
    expires_at: datetime | None = Field(description="When the file is deleted.")
