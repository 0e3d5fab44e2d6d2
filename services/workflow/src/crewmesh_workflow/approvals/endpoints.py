"""HTTP of what people decide."""

from __future__ import annotations

import hashlib
from typing import Annotated

from crewmesh_contracts.ids import RunId, Slug
from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import IdempotencyKey
from crewmesh_kit.http.etags import UNCHANGED, IfNoneMatch, answer_unchanged
from crewmesh_kit.http.pagination import Page, PageQuery
from crewmesh_kit.identity import Identity, requires
from fastapi import APIRouter, Query, Response

from crewmesh_workflow.approvals.links import Links
from crewmesh_workflow.approvals.rules import DECIDE, Kind
from crewmesh_workflow.approvals.schemas import (
    Approval,
    ApprovalDecision,
    ApprovalId,
    ApprovalLink,
    ApprovalLinkRequest,
    ApprovalSummary,
    StatusFilter,
)
from crewmesh_workflow.approvals.service import Approvals

router = APIRouter(prefix="/v1/approvals", tags=["approvals"])

Reader = Annotated[Identity, requires("approvals:read")]
Decider = Annotated[Identity, requires(DECIDE)]
TheApprovals = Annotated[Approvals, provided(Approvals)]
TheLinks = Annotated[Links, provided(Links)]


@router.get("")
async def list_approvals(
    identity: Reader,
    approvals: TheApprovals,
    page: PageQuery,
    status: Annotated[StatusFilter, Query(description="Only those of this status.")] = "open",
    kind: Annotated[Kind | None, Query(description="Only questions of this kind.")] = None,
    run: Annotated[RunId | None, Query(description="Only questions of this run.")] = None,
    workflow: Annotated[
        Slug | None, Query(description="Only questions of runs of this workflow, by its id or slug.")
    ] = None,
    mine: Annotated[bool, Query(description="Only what the caller, or everybody, is asked.")] = False,
) -> Page[ApprovalSummary]:
    """List what people are asked, the newest first."""
    return await approvals.page(identity, page, status=status, kind=kind, run=run, workflow=workflow, mine=mine)


@router.get("/{approval}", responses=UNCHANGED)
async def get_approval(
    approval: ApprovalId,
    identity: Reader,
    approvals: TheApprovals,
    response: Response,
    if_none_match: IfNoneMatch = None,
) -> Approval:
    """Get a question with what is proposed, who is asked, and what was said so far."""
    found = await approvals.get(identity, approval)
    tag = hashlib.sha256(found.model_dump_json().encode()).hexdigest()[:32]
    answer_unchanged(if_none_match, tag, response)
    return found


@router.post("/{approval}/decisions")
async def decide(
    approval: ApprovalId,
    decision: ApprovalDecision,
    identity: Decider,
    approvals: TheApprovals,
    key: IdempotencyKey = None,
) -> Approval:
    """Say yes or no, fill the form in, or tell what came of a step. One person decides once; saying the same again
    changes nothing."""
    return await approvals.decide(identity, approval, decision, key=key)


@router.post("/{approval}/links", status_code=201)
async def create_link(
    approval: ApprovalId, wanted: ApprovalLinkRequest, identity: Decider, links: TheLinks, key: IdempotencyKey = None
) -> ApprovalLink:
    """Make a link with which one person can decide once, without an account. In the name of somebody else this needs
    the permission approvals:links."""
    return await links.create(identity, approval, wanted, key=key)
