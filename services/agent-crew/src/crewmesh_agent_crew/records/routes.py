"""What the routes of records are made of: whom each asks for what, what stands in paths, and the ETag of an answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from crewmesh_kit.http.etags import etag_of
from fastapi import Path, Query, Response
from fastapi.params import Depends

from crewmesh_agent_crew.records.models import DefinitionT
from crewmesh_agent_crew.records.schemas import Record

Ref = Annotated[str, Path(description="Its name, or its id.")]
VersionNumber = Annotated[int, Path(ge=1, le=2_147_483_647)]
Message = Annotated[str, Query(max_length=500, pattern=r"^[^\x00]*$", description="What to say of this version.")]


@dataclass(frozen=True, slots=True)
class Asks:
    """What a route asks of who comes, as ``requires`` and ``reaching`` say it. ``make``: of who adds new ones."""

    see: Depends
    change: Depends
    make: Depends


def tagged(record: Record[DefinitionT], response: Response) -> Record[DefinitionT]:
    response.headers["ETag"] = etag_of(record.version)
    return record
