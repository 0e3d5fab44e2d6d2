"""Money as a part of the service."""

from __future__ import annotations

from crewmesh_kit.app import Service

from crewmesh_agent_crew.spending.service import give_up_lost_calls, keep_calls_alive, open_ledger


def watch_money(service: Service) -> None:
    """The ledger, and what looks after it."""
    service.lifetime(open_ledger)
    service.background("model calls under way", keep_calls_alive)
    service.background("lost model calls", give_up_lost_calls)
