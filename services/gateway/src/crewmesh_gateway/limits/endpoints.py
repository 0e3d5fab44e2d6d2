"""``/v1/limits``: how fast and how much an organization may, and from where."""

from __future__ import annotations

from typing import Annotated

from crewmesh_kit.app import provided
from crewmesh_kit.http.etags import IfMatch, etag_of
from fastapi import APIRouter, Query, Request, Response

from crewmesh_gateway.limits.schemas import AllowlistChange, AllowlistView, LimitsView
from crewmesh_gateway.limits.service import Limits, version_of
from crewmesh_gateway.principals.access import needs
from crewmesh_gateway.principals.doorkeeper import Doorkeeper
from crewmesh_gateway.principals.models import Principal

router = APIRouter(prefix="/v1/limits", tags=["limits"])

Provided = Annotated[Limits, provided(Limits)]
Reader = Annotated[Principal, needs("limits:read")]


@router.get("", summary="Plan, rate limits and quotas of the organization, and how much of them is used")
async def show_limits(principal: Reader, limits: Provided) -> LimitsView:
    return await limits.of(principal)


@router.get("/allowlist", summary="The networks that requests of the organization are admitted from")
async def show_allowlist(
    principal: Reader,
    limits: Provided,
    doorkeeper: Annotated[Doorkeeper, provided(Doorkeeper)],
    request: Request,
    response: Response,
) -> AllowlistView:
    return _view(await limits.allowlist(principal), doorkeeper.address_of(request), response)


@router.put("/allowlist", summary="Replace the networks that requests of the organization are admitted from")
async def replace_allowlist(
    principal: Annotated[Principal, needs("limits:write")],
    limits: Provided,
    doorkeeper: Annotated[Doorkeeper, provided(Doorkeeper)],
    change: AllowlistChange,
    request: Request,
    response: Response,
    if_match: IfMatch = None,
    force: Annotated[
        bool, Query(description="Also when the list does not contain your own address and shuts you out.")
    ] = False,
) -> AllowlistView:
    """It holds at once, for keys and logins alike, in every replica. Without your own address it needs `force`."""
    address = doorkeeper.address_of(request)
    networks = await limits.replace_allowlist(principal, change, address=address, if_match=if_match, force=force)
    return _view(networks, address, response)


def _view(networks: tuple[str, ...], address: str, response: Response) -> AllowlistView:
    response.headers["ETag"] = etag_of(version_of(networks))
    return AllowlistView(networks=networks, your_address=address)
