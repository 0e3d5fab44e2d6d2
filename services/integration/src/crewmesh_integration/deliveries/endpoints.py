"""``/v1/deliveries``: what was sent out of the mesh, and what came of it."""

from __future__ import annotations

from typing import Annotated

from crewmesh_kit.app import provided
from crewmesh_kit.http.etags import UNCHANGED, IfNoneMatch, answer_unchanged
from crewmesh_kit.http.pagination import Page, PageQuery
from crewmesh_kit.identity import Identity, requires
from fastapi import APIRouter, Query, Response

from crewmesh_integration.deliveries.repository import Filters
from crewmesh_integration.deliveries.schemas import Delivery, Outcome
from crewmesh_integration.deliveries.service import Deliveries

router = APIRouter(prefix="/v1/deliveries", tags=["deliveries"])

Reader = Annotated[Identity, requires("deliveries:read")]
DeliveriesService = Annotated[Deliveries, provided(Deliveries)]
FilterText = Annotated[str, Query(min_length=1, max_length=300)]


@router.get("")
async def list_deliveries(
    identity: Reader,
    deliveries: DeliveriesService,
    page: PageQuery,
    run: FilterText | None = None,
    idempotency_key: FilterText | None = None,
    host: FilterText | None = None,
    outcome: Outcome | None = None,
) -> Page[Delivery]:
    """List delivery attempts, newest first."""
    filters = Filters(run=run, idempotency_key=idempotency_key, host=host, outcome=outcome)
    return await deliveries.page(identity, filters, page)


@router.get("/{delivery}", responses=UNCHANGED)
async def get_delivery(
    delivery: str,
    identity: Reader,
    deliveries: DeliveriesService,
    response: Response,
    if_none_match: IfNoneMatch = None,
) -> Delivery:
    """Show one delivery attempt."""
    found = await deliveries.get(identity, delivery)
    # Nothing but its outcome ever changes.
    answer_unchanged(if_none_match, found.outcome, response)
    return found
