"""What the handlers of every kind of record have in common."""

from __future__ import annotations

from typing import Annotated

from crewmesh_contracts.ids import Slug
from crewmesh_kit.http.etags import answer_unchanged, etag_of
from fastapi import Path, Query, Response

from crewmesh_agent_crew.records.models import DefinitionT
from crewmesh_agent_crew.records.schemas import Record

Ref = Annotated[str, Path(description="Its name, or its id.")]
VersionNumber = Annotated[int, Path(ge=1, le=2_147_483_647)]
Message = Annotated[str, Query(max_length=500, pattern=r"^[^\x00]*$", description="What to say of this version.")]
Prefix = Annotated[str, Query(max_length=64, pattern=r"^[a-z0-9_-]*$", description="Only those whose name begins so.")]
Tag = Annotated[Slug | None, Query(description="Only those with this tag.")]
Skill = Annotated[Slug | None, Query(description="Only those with this skill, of their own or of their preset.")]
ArchivedOnes = Annotated[bool, Query(description="Only archived ones, which go by their ids.")]


def tagged(record: Record[DefinitionT], response: Response) -> Record[DefinitionT]:
    response.headers["ETag"] = etag_of(record.version)
    return record


def created(record: Record[DefinitionT], response: Response, path: str) -> Record[DefinitionT]:
    response.headers["Location"] = f"/v1/{path}/{record.definition.name}"
    return tagged(record, response)


def unless_current(record: Record[DefinitionT], if_none_match: str | None, response: Response) -> Record[DefinitionT]:
    """304 for who has it already."""
    answer_unchanged(if_none_match, record.version, response)
    return record
