"""What an agent's definition says of its guardrails."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from crewmesh_contracts.base import Contract
from pydantic import Field

# From the mildest to the strictest.
Pii: TypeAlias = Literal["allow", "mask", "refuse"]
Injection: TypeAlias = Literal["mark", "withhold"]


class Guardrails(Contract):
    """``pii``: what happens to personal data in what the model is shown and in what it says.

    ``injection``: what happens to untrusted text that gives orders: it is wrapped and marked, or kept from the model.
    """

    pii: Pii = "allow"
    injection: Injection = "mark"
    rule_of_two: Annotated[
        bool,
        Field(description="Untrusted content, private data, outward action: all three only with a person's consent."),
    ] = True


class Limits(Contract):
    """How much one turn of an agent may take: questions to the model, uses of tools, seconds, tokens."""

    model_calls: Annotated[int, Field(ge=1, le=200)] = 12
    tool_calls: Annotated[int, Field(ge=0, le=200)] = 20
    seconds: Annotated[float, Field(gt=0, le=86_400)] = 600.0
    tokens: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
