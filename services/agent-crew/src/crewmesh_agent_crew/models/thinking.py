"""The one door to models: everything that asks one, asks here.

Behind it, in this order: the ledger (what was answered under this key before is the answer), the router's candidates,
the budgets (the worst case is reserved), the call, and one transaction that settles the cost and keeps the answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from crewmesh_agent_crew.models.calls import ModelCall, ModelReply, TextSink
from crewmesh_agent_crew.spending.charge import Charge


@dataclass(frozen=True, slots=True)
class Answer:
    """``cost`` in nano-dollars. ``repeated``: it stood in the ledger, and nothing was asked or paid now."""

    reply: ModelReply
    cost: int
    repeated: bool = False


class Thinking(Protocol):
    async def ask(self, call: ModelCall, charge: Charge, key: str, *, sink: TextSink | None = None) -> Answer:
        """Once per key within the organization. Raises a Problem; ``BudgetExhausted`` when no budget pays for it."""
        ...
