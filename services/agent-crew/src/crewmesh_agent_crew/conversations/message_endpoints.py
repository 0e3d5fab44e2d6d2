"""The messages of a conversation over HTTP."""

from __future__ import annotations

from typing import Annotated, Literal

from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import IdempotencyKey
from crewmesh_kit.health import Lifecycle
from crewmesh_kit.http.pagination import Page, PageQuery
from crewmesh_kit.http.sse import EVENTS, EventStream
from crewmesh_kit.identity import Identity
from fastapi import APIRouter, Header, Query, Response

from crewmesh_agent_crew.conversations.access import Reader, Talker
from crewmesh_agent_crew.conversations.schemas import (
    ChatDecision,
    ChatMessage,
    Exchange,
    MessageRequest,
    RegenerateRequest,
)
from crewmesh_agent_crew.conversations.service import Conversations
from crewmesh_agent_crew.conversations.stream import Streams
from crewmesh_agent_crew.conversations.talking import Talking

router = APIRouter(prefix="/v1/conversations/{conversation}", tags=["conversations"])

Kept = Annotated[Conversations, provided(Conversations)]
Talks = Annotated[Talking, provided(Talking)]
Followed = Annotated[Streams, provided(Streams)]
Alive = Annotated[Lifecycle, provided(Lifecycle)]
Wait = Annotated[float, Query(ge=0, le=50, description="Seconds to wait for the answer.")]
Accept = Annotated[str, Header(include_in_schema=False)]


@router.get("/messages", summary="List the messages of the branch")
async def list_messages(
    conversation: str,
    identity: Reader,
    kept: Kept,
    page: PageQuery,
    order: Annotated[Literal["oldest", "newest"], Query(description="Which come first.")] = "oldest",
) -> Page[ChatMessage]:
    """Of the branch that is shown; ``versions`` says how many messages stand at a place, on branches of their own."""
    return await kept.messages(identity, conversation, page, newest_first=order == "newest")


@router.get("/messages/{message}", summary="Get a message")
async def get_message(conversation: str, message: str, identity: Reader, kept: Kept) -> ChatMessage:
    """On whichever branch it is."""
    return await kept.message(identity, conversation, message)


@router.post("/messages", status_code=201, response_model=Exchange, responses=EVENTS, summary="Send a message")
async def send_message(
    conversation: str,
    request: MessageRequest,
    identity: Talker,
    talks: Talks,
    kept: Kept,
    streams: Followed,
    lifecycle: Alive,
    response: Response,
    key: IdempotencyKey,
    wait: Wait = 0,
    accept: Accept = "",
) -> Exchange | EventStream:
    """Answered at once with the message and the id of its answer, which goes on by itself: follow the conversation's
    events, ``wait``, or accept ``text/event-stream`` to be sent the events of this answer in place of JSON.
    """
    exchange = await talks.send(identity, key, conversation, request)
    if _wants_events(accept):
        return _events(streams, lifecycle, identity, conversation, exchange)
    return await _told(response, kept, identity, conversation, exchange, wait)


@router.post(
    "/messages/{message}/regenerate",
    status_code=201,
    response_model=Exchange,
    responses=EVENTS,
    summary="Have an answer given again",
)
async def regenerate_answer(
    conversation: str,
    message: str,
    request: RegenerateRequest,
    identity: Talker,
    talks: Talks,
    kept: Kept,
    streams: Followed,
    lifecycle: Alive,
    response: Response,
    key: IdempotencyKey,
    wait: Wait = 0,
    accept: Accept = "",
) -> Exchange | EventStream:
    """Another answer to the same message, beside this one, on a branch of its own."""
    exchange = await talks.regenerate(identity, key, conversation, message, request)
    if _wants_events(accept):
        return _events(streams, lifecycle, identity, conversation, exchange)
    return await _told(response, kept, identity, conversation, exchange, wait)


@router.post("/cancel", status_code=202, summary="Break off the answer")
async def cancel_answer(conversation: str, identity: Talker, talks: Talks, kept: Kept, wait: Wait = 0) -> ChatMessage:
    """What was said of it so far is kept, marked as cancelled."""
    answer = await talks.cancel(identity, conversation)
    shown = await kept.message(identity, conversation, answer.id)
    return await kept.wait(identity, conversation, shown, wait) if wait else shown


@router.post("/messages/{message}/decisions", summary="Decide what an answer asks")
async def decide_question(
    conversation: str,
    message: str,
    decision: ChatDecision,
    identity: Talker,
    talks: Talks,
    kept: Kept,
    key: IdempotencyKey,
) -> ChatMessage:
    """Say yes or no to the use of a tool, or yes with other arguments. The answer then goes on."""
    await talks.decide(identity, key, conversation, message, decision)
    return await kept.message(identity, conversation, message)


def _wants_events(accept: str) -> bool:
    return any(part.partition(";")[0].strip().lower() == "text/event-stream" for part in accept.split(","))


def _events(
    streams: Streams, lifecycle: Lifecycle, identity: Identity, conversation: str, exchange: Exchange
) -> EventStream:
    # Answered with 200: a sidecar passes no other status on with a stream.
    pieces = streams.follow(identity, conversation, exchange.follow_from, until=exchange.answer.id)
    return EventStream(pieces, lifecycle)


async def _told(
    response: Response, kept: Conversations, identity: Identity, conversation: str, exchange: Exchange, wait: float
) -> Exchange:
    response.headers["Location"] = f"/v1/conversations/{conversation}/messages/{exchange.answer.id}"
    if not wait:
        return exchange
    answer = await kept.wait(identity, conversation, exchange.answer, wait)
    return exchange.model_copy(update={"answer": answer})
