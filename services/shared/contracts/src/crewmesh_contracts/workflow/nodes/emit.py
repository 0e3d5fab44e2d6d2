"""Publish an event. It leaves if and only if this step is in the journal, once."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from crewmesh_contracts.base import JsonValue, Reply
from crewmesh_contracts.events import RESERVED, wrong_type
from crewmesh_contracts.workflow.nodes.base import NodeBase, Template


class EmitOutput(Reply):
    event: str


class EmitNode(NodeBase):
    """A CloudEvent of this organization on the topic ``events``. Output: ``event``, its id."""

    Output: ClassVar = EmitOutput

    kind: Literal["emit"]
    type: Annotated[str, Field(min_length=1, max_length=255)]
    subject: Template | None = None
    data: Annotated[JsonValue, Field(description="Templates may stand anywhere.")] = None

    @field_validator("type")
    @classmethod
    def _type_can_be_sent(cls, type_: str) -> str:
        if "{{" in type_:
            raise ValueError("a type is no template, for triggers name it; what differs belongs in subject or data")
        if type_.startswith(RESERVED):
            raise ValueError(wrong_type(type_))
        return type_
