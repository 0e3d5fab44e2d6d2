"""What the public API shows of conversations, and takes."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from crewmesh_contracts.base import Contract, JsonObject, Reply
from crewmesh_contracts.ids import Slug
from crewmesh_contracts.invocations import CrewQuestion, TokenUsage
from pydantic import Field, StringConstraints, model_validator

from crewmesh_agent_crew.conversations.models import ChatSettings, Role

Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", min_length=1, max_length=100_000)]
# On one line, and without what turns the direction of what stands around it.
Line = Annotated[
    str,
    StringConstraints(pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]*$", max_length=200),
]
MessageId = Annotated[str, StringConstraints(pattern=r"^msg_[0-9a-f]{32}$")]
AttachmentId = Annotated[str, StringConstraints(pattern=r"^att_[0-9a-f]{32}$")]
# waiting: for a person who decides, or a budget that is topped up.
Progress = Literal["working", "waiting", "done", "failed", "cancelled"]


class ConversationRequest(Contract):
    """With whom: an agent or a crew, by name. Without a title it gets one when the first answer was given."""

    agent: Slug | None = None
    crew: Slug | None = None
    title: Line = ""
    settings: ChatSettings = ChatSettings()

    model_config = {"json_schema_extra": {"examples": [{"agent": "assistant"}, {"crew": "answer-desk"}]}}

    @model_validator(mode="after")
    def _with_one(self) -> ConversationRequest:
        if (self.agent is None) == (self.crew is None):
            raise ValueError("name an agent or a crew to talk with, and not both")
        return self


class ConversationChange(Contract):
    """What is left out stays. ``branch``: the message whose branch is shown from now on, at its latest end."""

    title: Line | None = None
    archived: bool | None = None
    settings: ChatSettings | None = None
    branch: MessageId | None = None

    model_config = {"json_schema_extra": {"examples": [{"title": "Mesh networks"}, {"archived": True}]}}


class Conversation(Reply):
    """``version`` is also its ETag. ``answering``: the answer that is under way."""

    id: str
    agent: str | None
    crew: str | None
    title: str
    settings: ChatSettings
    archived: bool
    version: int
    answering: str | None = None
    created_at: datetime
    active_at: datetime


class Attachment(Reply):
    """A file in a conversation; a message names it by its ``id``."""

    id: str
    name: str
    media_type: str
    bytes: int


class ChatFailure(Reply):
    """The problem that ended an answer."""

    type: str
    title: str
    detail: str
    retryable: bool


class ChatMessage(Reply):
    """``version`` of ``versions``: as many messages stand at this place, on branches of their own.

    ``questions``: what must be decided before a waiting answer goes on. A cancelled answer keeps what was said of it.
    """

    id: str
    parent: str | None
    role: Role
    text: str
    status: Progress
    attachments: tuple[Attachment, ...] = ()
    version: int = 1
    versions: int = 1
    crew_run: str | None = None
    questions: tuple[CrewQuestion, ...] = ()
    error: ChatFailure | None = None
    usage: TokenUsage | None = None
    at: datetime
    ended_at: datetime | None = None


class MessageRequest(Contract):
    """``parent``: the answer that it continues, null to begin anew; left out, the end of the branch that is shown.

    To change an earlier message, send the new one with the earlier one's parent: a branch of its own.
    """

    text: Text
    attachments: Annotated[tuple[AttachmentId, ...], Field(max_length=10)] = ()
    parent: MessageId | None = None

    model_config = {"json_schema_extra": {"examples": [{"text": "What is a mesh?"}]}}


class RegenerateRequest(Contract):
    """``settings``: for this answer alone."""

    settings: ChatSettings | None = None

    model_config = {"json_schema_extra": {"examples": [{}, {"settings": {"model": "smart"}}]}}


class Exchange(Reply):
    """The message, and the answer that is being given to it. Events behind ``follow_from`` tell both."""

    follow_from: str

    message: ChatMessage
    answer: ChatMessage


class ChatDecision(Contract):
    """``arguments``: do it with these instead of those that the agent wants."""

    question: Annotated[str, Field(min_length=1, max_length=300)]
    approved: bool
    arguments: JsonObject | None = None

    model_config = {
        "json_schema_extra": {"examples": [{"question": "que_018f3a2b7c9d7e8fa0b1c2d3e4f50617", "approved": True}]}
    }
