"""The roles that agents can have as presets, over HTTP."""

from __future__ import annotations

from typing import Annotated

from crewmesh_contracts.base import Reply
from crewmesh_kit.http.pagination import Page, PageQuery
from crewmesh_kit.identity import Identity, requires
from fastapi import APIRouter

from crewmesh_agent_crew.role_prompts.errors import UnknownRole
from crewmesh_agent_crew.role_prompts.files import roles
from crewmesh_agent_crew.role_prompts.models import RolePrompt

router = APIRouter(prefix="/v1/agent-roles", tags=["agents"])

Reader = Annotated[Identity, requires("crews:read")]


class RoleSummary(Reply):
    """``name`` is what an agent says as its preset."""

    name: str
    description: str
    role: str
    skills: tuple[str, ...]
    specializations: tuple[str, ...]


@router.get("")
async def list_agent_roles(identity: Reader, page: PageQuery) -> Page[RoleSummary]:
    """List the roles that are shipped, by name."""
    _ = identity
    after = page.after_text() or ""
    found = [_summary(role) for role in roles().values() if role.name > after]
    return page.page(found[: page.limit + 1], lambda role: (role.name,))


@router.get("/{name}")
async def get_agent_role(name: str, identity: Reader) -> RolePrompt:
    """Get a role with its prompt and its specializations."""
    _ = identity
    role = roles().get(name)
    if role is None:
        raise UnknownRole(name, roles())
    return role


def _summary(role: RolePrompt) -> RoleSummary:
    return RoleSummary(
        name=role.name,
        description=role.description,
        role=role.role,
        skills=role.skills,
        specializations=tuple(each.name for each in role.specializations),
    )
