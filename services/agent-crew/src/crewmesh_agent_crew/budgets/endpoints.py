"""``/v1/budgets``: what models may cost, for whom, and what of it is used."""

from __future__ import annotations

from typing import Annotated

from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import IdempotencyKey
from crewmesh_kit.http.etags import IfMatch, etag_of
from crewmesh_kit.http.pagination import Page, PageQuery
from crewmesh_kit.identity import Identity, requires
from fastapi import APIRouter, Path, Query, Response

from crewmesh_agent_crew.budgets.models import ScopeId
from crewmesh_agent_crew.budgets.repository import Filters
from crewmesh_agent_crew.budgets.schemas import Budget, NewBudget, NewTopUp, TopUp, Use
from crewmesh_agent_crew.budgets.scopes import ScopeKind
from crewmesh_agent_crew.budgets.service import Budgets

router = APIRouter(prefix="/v1/budgets", tags=["budgets"])

Reader = Annotated[Identity, requires("budgets:read")]
Writer = Annotated[Identity, requires("budgets:write")]
TheBudgets = Annotated[Budgets, provided(Budgets)]
BudgetId = Annotated[str, Path(max_length=100, pattern=r"^[^\x00]+$")]


@router.post("", status_code=201, summary="Create a budget")
async def create_budget(
    new: NewBudget, identity: Writer, budgets: TheBudgets, response: Response, key: IdempotencyKey = None
) -> Budget:
    """From now on no model is asked for whom it is meant unless the worst that the call may cost is left of it."""
    created = await budgets.create(identity, key, new)
    response.headers["Location"] = f"/v1/budgets/{created.id}"
    return _tagged(created, response)


@router.get("", summary="List budgets and what of them is used")
async def list_budgets(
    identity: Reader,
    budgets: TheBudgets,
    page: PageQuery,
    scope_kind: Annotated[ScopeKind | None, Query(description="Only those for this kind.")] = None,
    scope_id: Annotated[ScopeId | None, Query(description="Only those for this one.")] = None,
) -> Page[Budget]:
    return await budgets.page(identity, Filters(scope_kind, scope_id), page)


@router.get("/{budget}", summary="Get a budget and what of it is used")
async def get_budget(budget: BudgetId, identity: Reader, budgets: TheBudgets, response: Response) -> Budget:
    return _tagged(await budgets.get(identity, budget), response)


@router.put("/{budget}", summary="Change a budget")
async def replace_budget(
    budget: BudgetId,
    wanted: NewBudget,
    identity: Writer,
    budgets: TheBudgets,
    response: Response,
    if_match: IfMatch = None,
) -> Budget:
    """It holds from the next call on. Scope and period stay. A limit below what is spent stops all that costs."""
    return _tagged(await budgets.replace(identity, budget, wanted, if_match), response)


@router.delete("/{budget}", status_code=204, summary="Delete a budget")
async def delete_budget(budget: BudgetId, identity: Writer, budgets: TheBudgets) -> None:
    """With what it counted. What was spent stays on the record: GET /v1/usage."""
    await budgets.delete(identity, budget)


@router.get("/{budget}/balances", summary="List what each has used of a budget in the present period")
async def list_balances(budget: BudgetId, identity: Reader, budgets: TheBudgets, page: PageQuery) -> Page[Use]:
    """Those that spent most come first. Whoever spent nothing in this period is not listed."""
    return await budgets.balances(identity, budget, page)


@router.post("/{budget}/top-ups", status_code=201, summary="Top a budget up for its present period")
async def top_up_budget(
    budget: BudgetId,
    new: NewTopUp,
    identity: Writer,
    budgets: TheBudgets,
    response: Response,
    key: IdempotencyKey = None,
) -> TopUp:
    """Crews that wait for it go on at once. The next period begins with the limit as it is."""
    added = await budgets.top_up(identity, budget, key, new)
    response.headers["Location"] = f"/v1/budgets/{budget}/top-ups/{added.id}"
    return added


@router.get("/{budget}/top-ups", summary="List by what a budget was topped up, and by whom")
async def list_top_ups(budget: BudgetId, identity: Reader, budgets: TheBudgets, page: PageQuery) -> Page[TopUp]:
    return await budgets.top_ups(identity, budget, page)


@router.get("/{budget}/top-ups/{top_up}", summary="Get a top-up")
async def get_top_up(budget: BudgetId, top_up: BudgetId, identity: Reader, budgets: TheBudgets) -> TopUp:
    return await budgets.get_top_up(identity, budget, top_up)


def _tagged(budget: Budget, response: Response) -> Budget:
    response.headers["ETag"] = etag_of(budget.version)
    return budget
