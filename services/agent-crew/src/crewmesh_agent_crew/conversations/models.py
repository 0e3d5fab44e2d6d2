"""A conversation as this service knows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, TypeAlias

from crewmesh_contracts.base import Contract, JsonObject
from psycopg.rows import DictRow
from pydantic import Field

from crewmesh_agent_crew.catalogue.models import ModelName

Role: TypeAlias = Literal["user", "assistant"]
Status: TypeAlias = Literal["working", "done", "failed", "cancelled"]
EventKind: TypeAlias = Literal["message", "done", "failed", "cancelled", "changed"]
# The parent of what begins a conversation.
NOTHING = ""


class ChatSettings(Contract):
    """``model`` and ``temperature`` instead of the agent's own."""

    model: ModelName | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None


@dataclass(frozen=True, slots=True)
class Talk:
    """A conversation. ``head``: the last message of the branch that is shown; ``seq``: of its last event."""

    id: str
    organization: str
    owner: str
    agent: str | None
    crew: str | None
    title: str
    titled: bool
    settings: ChatSettings
    archived: bool
    version: int
    head: str
    seq: int
    created_at: datetime
    active_at: datetime

    @classmethod
    def of(cls, row: DictRow) -> Talk:
        return cls(
            id=row["id"],
            organization=row["org_id"],
            owner=row["owner"],
            agent=row["agent"],
            crew=row["crew"],
            title=row["title"],
            titled=row["titled"],
            settings=ChatSettings.model_validate(row["settings"]),
            archived=row["archived"],
            version=row["version"],
            head=row["head"] or NOTHING,
            seq=row["seq"],
            created_at=row["created_at"],
            active_at=row["active_at"],
        )


@dataclass(frozen=True, slots=True)
class Spoken:
    """A message. ``added``: the conversation's number when it was; ``version`` of ``versions`` that have its parent."""

    id: str
    conversation: str
    parent: str
    depth: int
    role: Role
    text: str
    attachments: tuple[str, ...]
    status: Status
    crew_run: str | None
    error: JsonObject | None
    usage: Mapping[str, object] | None
    added: int
    at: datetime
    ended_at: datetime | None
    version: int = 1
    versions: int = 1

    @classmethod
    def of(cls, row: DictRow) -> Spoken:
        return cls(
            id=row["id"],
            conversation=row["conversation"],
            parent=row["parent"],
            depth=row["depth"],
            role=row["role"],
            text=row["text"],
            attachments=tuple(row["attachments"]),
            status=row["status"],
            crew_run=row["crew_run"],
            error=row["error"],
            usage=row["usage"],
            added=row["added"],
            at=row["at"],
            ended_at=row["ended_at"],
            version=row.get("version", 1),
            versions=row.get("versions", 1),
        )


@dataclass(frozen=True, slots=True)
class File:
    """An attachment. ``content`` only where it is asked for."""

    id: str
    name: str
    media_type: str
    bytes: int
    content: bytes = b""

    @property
    def is_image(self) -> bool:
        return self.media_type.startswith("image/")


@dataclass(frozen=True, slots=True)
class Ending:
    """What became of an answer."""

    status: Literal["done", "failed", "cancelled"]
    text: str
    error: JsonObject | None = None
    usage: JsonObject | None = None
