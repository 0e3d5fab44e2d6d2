"""Messages as their owner sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.invocations import CrewQuestion, TokenUsage

from crewmesh_agent_crew.conversations.models import File, Spoken, Talk
from crewmesh_agent_crew.conversations.schemas import Attachment, ChatFailure, ChatMessage, Conversation, Progress
from crewmesh_agent_crew.crew_runs.models import Standing


def conversation_of(talk: Talk, answering: str | None) -> Conversation:
    return Conversation(
        id=talk.id,
        agent=talk.agent,
        crew=talk.crew,
        title=talk.title,
        settings=talk.settings,
        archived=talk.archived,
        version=talk.version,
        answering=answering,
        created_at=talk.created_at,
        active_at=talk.active_at,
    )


def message_of(spoken: Spoken, files: dict[str, File], standing: Standing | None = None) -> ChatMessage:
    """``standing``: of the run behind an answer that is under way."""
    status: Progress = spoken.status
    questions: Sequence[CrewQuestion] = ()
    if spoken.status == "working" and standing is not None and standing.status == "waiting":
        status, questions = "waiting", standing.questions
    return ChatMessage(
        id=spoken.id,
        parent=spoken.parent or None,
        role=spoken.role,
        text=spoken.text,
        status=status,
        attachments=tuple(attachment_of(files[file]) for file in spoken.attachments if file in files),
        version=spoken.version,
        versions=spoken.versions,
        crew_run=spoken.crew_run,
        questions=tuple(questions),
        error=None if spoken.error is None else ChatFailure.model_validate(spoken.error),
        usage=None if spoken.usage is None else TokenUsage.model_validate(spoken.usage),
        at=spoken.at,
        ended_at=spoken.ended_at,
    )


def attachment_of(file: File) -> Attachment:
    return Attachment(id=file.id, name=file.name, media_type=file.media_type, bytes=file.bytes)


def failure_of(problem: JsonObject) -> JsonObject:
    """A problem document, as a message keeps it."""
    slug = str(problem.get("type", "internal-error")).rsplit("/", 1)[-1]
    retryable = bool(problem.get("retryable"))
    detail, title = str(problem.get("detail", "")), str(problem.get("title", ""))
    return cast(JsonObject, {"type": slug, "title": title, "detail": detail, "retryable": retryable})
