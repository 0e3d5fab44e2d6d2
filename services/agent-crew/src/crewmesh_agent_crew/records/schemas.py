"""What the public API shows of records, whatever they are."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Generic

from crewmesh_contracts.base import Contract, JsonObject, JsonValue, Reply
from pydantic import Field

from crewmesh_agent_crew.records.models import DefinitionT, Text


class Hint(Reply):
    """Something that may be meant as it is, and may be a mistake."""

    path: str
    message: str


class Record(Reply, Generic[DefinitionT]):
    """A definition with its place in history. ``version`` is also its ETag."""

    id: str
    version: int
    definition: DefinitionT
    message: Annotated[str, Field(description="What was said of this version.")] = ""
    created_at: datetime
    updated_at: datetime
    updated_by: str
    archived_at: datetime | None = None
    warnings: Annotated[tuple[Hint, ...], Field(description="Only told when it was just saved.")] = ()

    @classmethod
    def model_parametrized_name(cls, params: tuple[type[Any], ...]) -> str:
        """``Record[CrewDefinition]`` is shown as Crew."""
        return params[0].__name__.removesuffix("Definition")


class Summary(Reply):
    """What every list shows. ``name`` is what it is referred to by; an archived one goes by its id."""

    id: str
    name: str
    description: str
    tags: tuple[str, ...]
    version: int
    created_at: datetime
    updated_at: datetime
    archived_at: datetime | None = None


class VersionSummary(Reply):
    version: int
    message: str
    changed_by: str
    changed_at: datetime


class Version(VersionSummary):
    """A version with its definition, as it was written."""

    definition: JsonObject


class Change(Reply):
    """One field. What was not there before, or is not there any more, is null."""

    path: Annotated[str, Field(description="Dotted; what has a name goes by that: agents.writer.goal.")]
    before: JsonValue
    after: JsonValue


class Diff(Reply):
    same: bool
    changes: tuple[Change, ...]


class RollbackRequest(Contract):
    """``version``: the one whose content is wanted back, as a new version."""

    version: Annotated[int, Field(ge=1)]
    message: Annotated[Text, Field(max_length=500)] = ""

    model_config = {"json_schema_extra": {"examples": [{"version": 3, "message": "The new goal was worse."}]}}
