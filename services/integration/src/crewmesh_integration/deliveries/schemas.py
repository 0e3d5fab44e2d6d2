"""What the API shows of a delivery attempt."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypeAlias

from crewmesh_contracts.base import Reply
from pydantic import Field

Outcome: TypeAlias = Literal["sending", "answered", "refused", "unavailable", "blocked", "unknown"]


class Delivery(Reply):
    """One attempt to send a request to the world."""

    id: str
    run: str | None = Field(description="The run on whose behalf it was sent.")
    idempotency_key: str = Field(description="Sent as webhook-id; all attempts of one step share it.")
    method: str
    host: str = Field(description="Host, with the port where it is not the scheme's own.")
    path: str = Field(description="Without the query; parts that look like tokens are shortened.")
    outcome: Outcome = Field(
        description=(
            "answered: a success or a final redirect. refused: a 4xx answer, or redirects that are not followed."
            " unavailable: no answer, or one that asks to come again. blocked: the destination is not allowed."
            " unknown: it must not be sent twice, and nobody knows whether it took effect."
            " sending: under way, or cut off by a crash so that nobody saw the outcome."
        )
    )
    status: int | None = Field(description="Status of the answer, if there was one.")
    duration_ms: int | None
    error: str | None
    at: datetime
