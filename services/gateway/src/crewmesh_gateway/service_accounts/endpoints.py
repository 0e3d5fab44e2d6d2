"""HTTP of service accounts."""

from __future__ import annotations

from typing import Annotated

from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import IdempotencyKey
from crewmesh_kit.http.etags import IfMatch, etag_of
from crewmesh_kit.http.pagination import Page, PageQuery
from fastapi import APIRouter, Response

from crewmesh_gateway.ids import IdText
from crewmesh_gateway.principals.access import needs
from crewmesh_gateway.principals.models import Principal
from crewmesh_gateway.service_accounts.schemas import NewServiceAccount, ServiceAccount, ServiceAccountChange
from crewmesh_gateway.service_accounts.service import ServiceAccounts

router = APIRouter(prefix="/v1/service-accounts", tags=["service accounts"])

Reader = Annotated[Principal, needs("api-keys:read")]
Writer = Annotated[Principal, needs("api-keys:write")]
TheAccounts = Annotated[ServiceAccounts, provided(ServiceAccounts)]


@router.get("")
async def list_service_accounts(principal: Reader, accounts: TheAccounts, page: PageQuery) -> Page[ServiceAccount]:
    """List the organization's service accounts."""
    return await accounts.page(principal, page)


@router.post("", status_code=201)
async def create_service_account(
    new: NewServiceAccount, principal: Writer, accounts: TheAccounts, response: Response, key: IdempotencyKey = None
) -> ServiceAccount:
    """Create a service account. It acts by API keys: make one with POST /v1/api-keys."""
    created = await accounts.create(principal, new, key=key)
    response.headers["Location"] = f"/v1/service-accounts/{created.id}"
    response.headers["ETag"] = etag_of(created.version)
    return created


@router.get("/{account}")
async def get_service_account(
    account: IdText, principal: Reader, accounts: TheAccounts, response: Response
) -> ServiceAccount:
    """Get a service account."""
    found = await accounts.get(principal, account)
    response.headers["ETag"] = etag_of(found.version)
    return found


@router.patch("/{account}")
async def change_service_account(
    account: IdText,
    change: ServiceAccountChange,
    principal: Writer,
    accounts: TheAccounts,
    response: Response,
    if_match: IfMatch = None,
) -> ServiceAccount:
    """Change a service account's name or role. A new role holds at once, for all its keys."""
    changed = await accounts.change(principal, account, change, if_match)
    response.headers["ETag"] = etag_of(changed.version)
    return changed


@router.delete("/{account}", status_code=204)
async def delete_service_account(
    account: IdText,
    principal: Annotated[Principal, needs("api-keys:write", while_deleting=True)],
    accounts: TheAccounts,
) -> None:
    """Delete a service account. All its keys end at once."""
    await accounts.delete(principal, account)
