"""Policies over HTTP."""

from __future__ import annotations

from typing import Annotated

from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import IdempotencyKey
from crewmesh_kit.http.etags import UNCHANGED, IfMatch, IfNoneMatch, answer_unchanged, etag_of
from crewmesh_kit.http.pagination import Page, PageQuery
from crewmesh_kit.identity import Identity, requires
from fastapi import APIRouter, Path, Query, Response

from crewmesh_agent_crew.guardrails.policies.models import PolicyDefinition, Tag
from crewmesh_agent_crew.guardrails.policies.schemas import Policy
from crewmesh_agent_crew.guardrails.policies.service import Policies

router = APIRouter(prefix="/v1/policies", tags=["policies"])

Reader = Annotated[Identity, requires("policies:read")]
Writer = Annotated[Identity, requires("policies:write")]
ThePolicies = Annotated[Policies, provided(Policies)]
Name = Annotated[str, Path(min_length=1, max_length=64)]


@router.get("", summary="List policies")
async def list_policies(
    identity: Reader, policies: ThePolicies, page: PageQuery, tag: Annotated[Tag | None, Query()] = None
) -> Page[Policy]:
    """What the organization says of agents and crews by their tags, by name. ``tag``: only those of that tag."""
    return await policies.page(identity, page, tag)


@router.post("", status_code=201, summary="Create a policy")
async def create_policy(
    definition: PolicyDefinition, identity: Writer, policies: ThePolicies, response: Response, key: IdempotencyKey
) -> Policy:
    """Say what agents and crews with a tag may do. It holds for every turn that begins after it."""
    policy = await policies.create(identity, key, definition)
    response.headers["ETag"] = etag_of(policy.version)
    response.headers["Location"] = f"/v1/policies/{policy.definition.name}"
    return policy


@router.get("/{name}", summary="Get a policy", responses=UNCHANGED)
async def get_policy(
    name: Name,
    identity: Reader,
    policies: ThePolicies,
    response: Response,
    if_none_match: IfNoneMatch = None,
) -> Policy:
    """One policy."""
    policy = await policies.get(identity, name)
    answer_unchanged(if_none_match, policy.version, response)
    return policy


@router.put("/{name}", summary="Replace a policy")
async def put_policy(
    name: Name,
    definition: PolicyDefinition,
    identity: Writer,
    policies: ThePolicies,
    response: Response,
    if_match: IfMatch = None,
) -> Policy:
    """Replace the whole of it, if it is the one that was read (If-Match)."""
    policy = await policies.replace(identity, name, definition, if_match)
    response.headers["ETag"] = etag_of(policy.version)
    return policy


@router.delete("/{name}", status_code=204, summary="Delete a policy")
async def delete_policy(name: Name, identity: Writer, policies: ThePolicies, if_match: IfMatch = None) -> None:
    """From now on it holds for no turn that begins."""
    await policies.delete(identity, name, if_match)
