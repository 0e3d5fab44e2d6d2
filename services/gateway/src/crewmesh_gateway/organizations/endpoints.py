"""HTTP of organizations: those of a person, and the one that a request is made in."""

from __future__ import annotations

from typing import Annotated

from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import IdempotencyKey
from crewmesh_kit.http.etags import IfMatch, etag_of
from crewmesh_kit.http.pagination import Page, PageQuery
from fastapi import APIRouter, Response

from crewmesh_gateway.organizations.ending import Ending
from crewmesh_gateway.organizations.schemas import (
    Deletion,
    MyOrganization,
    NewOrganization,
    Organization,
    OrganizationChange,
)
from crewmesh_gateway.organizations.service import Organizations
from crewmesh_gateway.principals.access import Person, needs
from crewmesh_gateway.principals.models import Principal

router = APIRouter(prefix="/v1", tags=["organizations"])

TheOrganizations = Annotated[Organizations, provided(Organizations)]
TheEnding = Annotated[Ending, provided(Ending)]


@router.post("/organizations", status_code=201)
async def create_organization(
    new: NewOrganization,
    principal: Person,
    organizations: TheOrganizations,
    response: Response,
    key: IdempotencyKey = None,
) -> Organization:
    """Create an organization and become its owner. Then switch to it: POST /v1/auth/organization."""
    created = await organizations.create(principal, new, key=key)
    response.headers["Location"] = "/v1/organization"
    response.headers["ETag"] = etag_of(created.version)
    return created


@router.get("/organizations")
async def list_my_organizations(
    principal: Person, organizations: TheOrganizations, page: PageQuery
) -> Page[MyOrganization]:
    """List the organizations one belongs to, with one's role in each."""
    return await organizations.mine(principal, page)


@router.get("/organization")
async def get_organization(
    principal: Annotated[Principal, needs("organization:read")], organizations: TheOrganizations, response: Response
) -> Organization:
    """Get the organization that this request is made in."""
    organization = await organizations.current(principal)
    response.headers["ETag"] = etag_of(organization.version)
    return organization


@router.patch("/organization")
async def change_organization(
    change: OrganizationChange,
    principal: Annotated[Principal, needs("organization:write")],
    organizations: TheOrganizations,
    response: Response,
    if_match: IfMatch = None,
) -> Organization:
    """Change the organization's name, or where its data is to be kept."""
    changed = await organizations.change(principal, change, if_match)
    response.headers["ETag"] = etag_of(changed.version)
    return changed


@router.delete("/organization", status_code=204)
async def delete_organization(
    asked: Deletion, principal: Annotated[Principal, needs("organization:delete")], ending: TheEnding
) -> None:
    """Delete the organization. It stands still from now on, and is gone for good after the time of grace."""
    await ending.delete(principal, asked)


@router.post("/organization/restore")
async def restore_organization(
    principal: Annotated[Principal, needs("organization:delete", while_deleting=True)],
    ending: TheEnding,
    response: Response,
) -> Organization:
    """Bring a deleted organization back, as long as it is not gone for good."""
    restored = await ending.restore(principal)
    response.headers["ETag"] = etag_of(restored.version)
    return restored
