"""Conversations over HTTP."""

from __future__ import annotations

from typing import Annotated

from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import IdempotencyKey
from crewmesh_kit.health import Lifecycle
from crewmesh_kit.http.etags import UNCHANGED, IfMatch, IfNoneMatch, answer_unchanged, etag_of
from crewmesh_kit.http.pagination import Page, PageQuery
from crewmesh_kit.http.sse import EVENTS, EventStream
from fastapi import APIRouter, Header, Query, Request, Response

from crewmesh_agent_crew.conversations.access import Reader, Talker
from crewmesh_agent_crew.conversations.schemas import (
    Attachment,
    Conversation,
    ConversationChange,
    ConversationRequest,
)
from crewmesh_agent_crew.conversations.service import Conversations
from crewmesh_agent_crew.conversations.stream import Streams

router = APIRouter(prefix="/v1/conversations", tags=["conversations"])

Kept = Annotated[Conversations, provided(Conversations)]
Name = Annotated[str | None, Query(max_length=100)]
FileName = Annotated[str, Query(min_length=1, max_length=300, description="What the file is called, without a path.")]
_BINARY = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


@router.post("", status_code=201, summary="Begin a conversation")
async def create_conversation(
    request: ConversationRequest, identity: Talker, kept: Kept, response: Response, key: IdempotencyKey
) -> Conversation:
    """With an agent or a crew. It is seen by whoever began it, and nobody else."""
    made = await kept.create(identity, key, request)
    response.headers["ETag"] = etag_of(made.version)
    response.headers["Location"] = f"/v1/conversations/{made.id}"
    return made


@router.get("", summary="List one's conversations")
async def list_conversations(
    identity: Reader,
    kept: Kept,
    page: PageQuery,
    archived: Annotated[bool | None, Query(description="Only archived ones, or only others.")] = None,
    partner: Annotated[str | None, Query(max_length=100, description="The name of the agent or crew.")] = None,
    q: Annotated[
        str | None, Query(max_length=200, pattern=r"^[^\x00]*$", description="What the title contains.")
    ] = None,
) -> Page[Conversation]:
    """One's own, the latest first."""
    return await kept.page(identity, page, archived=archived, partner=partner, search=q)


@router.get("/{conversation}", responses=UNCHANGED, summary="Get a conversation")
async def get_conversation(
    conversation: str,
    identity: Reader,
    kept: Kept,
    response: Response,
    if_none_match: IfNoneMatch = None,
) -> Conversation:
    """With whom, its title, and the answer that is under way."""
    found = await kept.get(identity, conversation)
    answer_unchanged(if_none_match, found.version, response)
    return found


@router.patch("/{conversation}", summary="Change a conversation")
async def change_conversation(
    conversation: str,
    request: ConversationChange,
    identity: Talker,
    kept: Kept,
    response: Response,
    if_match: IfMatch = None,
) -> Conversation:
    """Its title, its settings, whether it is archived, and which branch is shown."""
    changed = await kept.change(identity, conversation, request, if_match=if_match)
    response.headers["ETag"] = etag_of(changed.version)
    return changed


@router.delete("/{conversation}", status_code=204, summary="Delete a conversation")
async def delete_conversation(conversation: str, identity: Talker, kept: Kept, if_match: IfMatch = None) -> None:
    """All of it: messages, files, what was worked for it. An answer that is under way is broken off."""
    await kept.delete(identity, conversation, if_match=if_match)


@router.get("/{conversation}/events", response_class=EventStream, responses=EVENTS, summary="Follow a conversation")
async def follow_conversation(
    conversation: str,
    identity: Reader,
    kept: Kept,
    streams: Annotated[Streams, provided(Streams)],
    lifecycle: Annotated[Lifecycle, provided(Lifecycle)],
    last_event_id: Annotated[str | None, Header(max_length=100)] = None,
) -> EventStream:
    """``message`` (added), ``words``, ``restart`` (of an answer's part), ``tool``, ``question``, ``decision``, ``said``
    (by one agent of a crew to others), ``done``, ``failed``, ``cancelled``, ``changed`` (the conversation itself).

    A client that comes back with Last-Event-ID, to any replica, misses nothing and is told nothing twice.
    """
    await kept.get(identity, conversation)
    return EventStream(streams.follow(identity, conversation, last_event_id), lifecycle)


@router.post(
    "/{conversation}/attachments",
    status_code=201,
    summary="Attach a file",
    openapi_extra={"requestBody": {"required": True, "content": _BINARY}},
)
async def attach_file(
    conversation: str,
    name: FileName,
    request: Request,
    identity: Talker,
    kept: Kept,
    response: Response,
    key: IdempotencyKey,
) -> Attachment:
    """The body is the file, its Content-Type what it is: text, Markdown, CSV, JSON, PNG, JPEG, GIF or WebP.

    A message then names it by its id. What is in it is data to the agent, never an instruction.
    """
    media_type = request.headers.get("content-type", "")
    attached = await kept.attach(identity, key, conversation, name, media_type, await request.body())
    response.headers["Location"] = f"/v1/conversations/{conversation}/attachments/{attached.id}"
    return attached


@router.get(
    "/{conversation}/attachments/{attachment}",
    summary="Get a file",
    response_class=Response,
    responses={200: {"description": "The file as it was attached.", "content": _BINARY}},
)
async def get_attachment(conversation: str, attachment: str, identity: Reader, kept: Kept) -> Response:
    """As it was attached, for download."""
    file = await kept.attachment(identity, conversation, attachment)
    headers = {"Content-Disposition": "attachment", "X-Content-Type-Options": "nosniff", "Cache-Control": "private"}
    return Response(file.content, media_type=file.media_type, headers=headers)
