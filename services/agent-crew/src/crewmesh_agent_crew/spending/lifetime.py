"""Money as a part of the service."""

from __future__ import annotations

from crewmesh_kit.app import Service

from crewmesh_agent_crew.budgets import endpoints as budgets
from crewmesh_agent_crew.budgets.service import open_budgets
from crewmesh_agent_crew.models.thinking import open_thinking
from crewmesh_agent_crew.spending.bookkeeping import keep_the_books, open_bookkeeping
from crewmesh_agent_crew.spending.service import give_up_lost_calls, keep_calls_alive, open_ledger
from crewmesh_agent_crew.usage import endpoints as usage
from crewmesh_agent_crew.usage.folding import keep_folding, open_folding
from crewmesh_agent_crew.usage.service import open_usage


def install(service: Service) -> None:
    """The ledger, the door to models that everything goes through, and what looks after them. After the router."""
    service.lifetime(open_ledger)
    service.lifetime(open_thinking)
    service.lifetime(open_bookkeeping)
    service.lifetime(open_budgets)
    service.lifetime(open_usage)
    service.lifetime(open_folding)
    service.background("model calls under way", keep_calls_alive)
    service.background("lost model calls", give_up_lost_calls)
    service.background("bookkeeping", keep_the_books)
    service.background("usage by the day", keep_folding)
    service.routes(budgets.router, usage.router)
