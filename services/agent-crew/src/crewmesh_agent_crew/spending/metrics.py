"""Money, as Prometheus reads it. Organizations and budgets are no labels: there may be many."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

SPENT = Counter("crewmesh_model_cost_dollars_total", "What model calls cost, in US dollars.")
MODEL_CALLS = Counter("crewmesh_model_calls_total", "Attempts to ask a model, by how they ended.", ("outcome",))
REFUSED = Counter("crewmesh_budget_refusals_total", "Model calls that a budget did not pay for.", ("problem",))
MISMATCH = Gauge(
    "crewmesh_budget_ledger_mismatch", "Balances of budgets that are not the sum of the ledger's calls. Should be 0."
)
