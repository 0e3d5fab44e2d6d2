"""HTTP of roles and of the catalogue of permissions."""

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
from crewmesh_gateway.roles.schemas import Catalogue, NewRole, Role, RoleChange
from crewmesh_gateway.roles.service import CATALOGUE, Roles

router = APIRouter(prefix="/v1", tags=["roles"])

Reader = Annotated[Principal, needs("roles:read")]
Writer = Annotated[Principal, needs("roles:write")]
TheRoles = Annotated[Roles, provided(Roles)]


@router.get("/permissions")
async def list_permissions(_: Reader) -> Catalogue:
    """List every permission there is, with what it allows, and the roles that every organization has."""
    return CATALOGUE


@router.post("/roles", status_code=201)
async def create_role(
    new: NewRole, principal: Writer, roles: TheRoles, response: Response, key: IdempotencyKey = None
) -> Role:
    """Create a custom role out of permissions that one holds oneself."""
    created = await roles.create(principal, new, key=key)
    response.headers["Location"] = f"/v1/roles/{created.id}"
    _tag(response, created)
    return created


@router.get("/roles")
async def list_roles(principal: Reader, roles: TheRoles, page: PageQuery) -> Page[Role]:
    """List the built-in roles, then the organization's own."""
    return await roles.page(principal, page)


@router.get("/roles/{role}")
async def get_role(role: IdText, principal: Reader, roles: TheRoles, response: Response) -> Role:
    """Get a role by its id, which for a built-in one is its name."""
    found = await roles.get(principal, role)
    _tag(response, found)
    return found


@router.patch("/roles/{role}")
async def change_role(
    role: IdText, change: RoleChange, principal: Writer, roles: TheRoles, response: Response, if_match: IfMatch = None
) -> Role:
    """Change a custom role. Whoever has it may do what it says at once."""
    changed = await roles.change(principal, role, change, if_match)
    _tag(response, changed)
    return changed


@router.delete("/roles/{role}", status_code=204)
async def delete_role(role: IdText, principal: Writer, roles: TheRoles) -> None:
    """Delete a custom role that nobody has."""
    await roles.delete(principal, role)


def _tag(response: Response, role: Role) -> None:
    if role.version is not None:
        response.headers["ETag"] = etag_of(role.version)
