"""Kickoffs over HTTP: the call from the workflow service, and the public list of what crews did."""

from __future__ import annotations

from typing import Annotated

from crewmesh_contracts.invocations import KICKOFF, KickoffRequest, KickoffResult
from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import IdempotencyKey
from crewmesh_kit.errors import InvalidRequest
from crewmesh_kit.http.pagination import Page, PageQuery
from crewmesh_kit.identity import Identity, requires
from crewmesh_kit.sharing.endpoints import reaching
from fastapi import APIRouter

from crewmesh_agent_crew.access import SEE
from crewmesh_agent_crew.kickoff.schemas import Kickoff
from crewmesh_agent_crew.kickoff.service import KickoffService

router = APIRouter(tags=["kickoffs"])

Kickoffs = Annotated[KickoffService, provided(KickoffService)]


@router.post(KICKOFF.path)
async def kickoff(
    request: KickoffRequest,
    identity: Annotated[Identity, requires(KICKOFF.permission)],
    kickoffs: Kickoffs,
    key: IdempotencyKey,
) -> KickoffResult:
    if key is None:
        raise InvalidRequest("Send the header Idempotency-Key: a crew costs tokens, and a retry must not pay again.")
    return await kickoffs.kickoff(identity, key, request)


@router.get("/v1/crews/{name}/kickoffs")
async def list_kickoffs(
    name: str, identity: Annotated[Identity, reaching(SEE)], kickoffs: Kickoffs, page: PageQuery
) -> Page[Kickoff]:
    """What the crew did, the newest first."""
    return await kickoffs.page(identity, name, page)
