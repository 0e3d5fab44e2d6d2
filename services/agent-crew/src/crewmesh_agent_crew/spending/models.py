"""Attempts to ask a model, as the ledger begins and ends them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.ids import new_id

from crewmesh_agent_crew.models.calls import ModelReply, Tokens
from crewmesh_agent_crew.spending.charge import Charge

# What an attempt can end as; before it is "reserved", and "unknown" when whoever asked was never heard of again.
Ending: TypeAlias = Literal["ok", "failed", "cached", "cancelled"]
Outcome: TypeAlias = Literal["reserved", "unknown"] | Ending

NO_TOKENS = Tokens()


@dataclass(frozen=True, slots=True)
class Attempt:
    """One question to one model. ``worst``: nano-dollars that it may cost at most."""

    charge: Charge
    key: str
    request_hash: str
    provider: str
    model: str
    price_version: str
    worst: int
    number: int = 1
    id: str = field(default_factory=lambda: new_id("call"))


@dataclass(frozen=True, slots=True)
class Begun:
    """It is paid for: the model may be asked."""


@dataclass(frozen=True, slots=True)
class Done:
    """It was answered before."""

    reply: ModelReply
    cost: int
    request_hash: str


@dataclass(frozen=True, slots=True)
class UnderWay:
    """Somebody else is asking it."""


@dataclass(frozen=True, slots=True)
class Switch:
    """A budget is nearly used, and wants this model to be asked instead."""

    model: str


@dataclass(frozen=True, slots=True)
class Refused:
    """These budgets have not enough left, as ``budget_as_told`` tells them."""

    budgets: tuple[JsonObject, ...]


Began: TypeAlias = Begun | Done | UnderWay | Switch | Refused


@dataclass(frozen=True, slots=True)
class End:
    """``cost`` in nano-dollars. ``error``: the slug of what went wrong."""

    outcome: Ending
    cost: int = 0
    tokens: Tokens = NO_TOKENS
    seconds: float = 0.0
    error: str | None = None
    reply: ModelReply | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """What stands in the ledger as the answer: this one, or one that was there before."""

    reply: ModelReply
    cost: int
