"""Drafts: what an editor saves, until it is published."""

from __future__ import annotations

from typing import Annotated

from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import IdempotencyKey
from crewmesh_kit.http.etags import UNCHANGED, IfMatch, IfNoneMatch, answer_unchanged, etag_of
from fastapi import APIRouter, Response

from crewmesh_workflow.definitions.drafts import Drafts
from crewmesh_workflow.definitions.endpoints.common import (
    TAKES_DRAFT,
    Document,
    Reader,
    WorkflowRef,
    Writer,
)
from crewmesh_workflow.definitions.schemas import Draft, Published, PublishRequest

router = APIRouter(prefix="/v1/workflows", tags=["workflows"])

TheDrafts = Annotated[Drafts, provided(Drafts)]


@router.get("/{workflow}/draft", responses=UNCHANGED)
async def get_draft(
    workflow: WorkflowRef, identity: Reader, drafts: TheDrafts, response: Response, if_none_match: IfNoneMatch = None
) -> Draft:
    """Get what is edited, and what keeps it from being published. Without a draft: the published version."""
    draft = await drafts.get(identity, workflow)
    answer_unchanged(if_none_match, f"{draft.version}.{draft.revision}", response)
    return draft


@router.put("/{workflow}/draft", openapi_extra=TAKES_DRAFT)
async def save_draft(
    workflow: WorkflowRef,
    document: Document,
    identity: Writer,
    drafts: TheDrafts,
    response: Response,
    if_match: IfMatch = None,
    key: IdempotencyKey = None,
) -> Draft:
    """Save a draft, right or wrong: the answer lists its mistakes. If-Match names the draft that was edited."""
    draft = await drafts.save(identity, workflow, document, if_match=if_match, key=key)
    response.headers["ETag"] = etag_of(f"{draft.version}.{draft.revision}")
    return draft


@router.post("/{workflow}/publish")
async def publish_draft(
    workflow: WorkflowRef,
    identity: Writer,
    drafts: TheDrafts,
    response: Response,
    request: PublishRequest = PublishRequest(),  # noqa: B008  frozen
    if_match: IfMatch = None,
    key: IdempotencyKey = None,
) -> Published:
    """Make the draft the version that new runs start with. Runs that have begun keep theirs; the answer counts them."""
    published = await drafts.publish(identity, workflow, request, if_match=if_match, key=key)
    response.headers["ETag"] = etag_of(f"{published.version}.{published.draft_revision}")
    return published
