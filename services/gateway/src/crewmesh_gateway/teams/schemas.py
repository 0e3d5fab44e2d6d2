"""What is asked and told about teams."""

from __future__ import annotations

from datetime import datetime

from crewmesh_contracts.base import Contract, Reply
from pydantic import ConfigDict, Field

from crewmesh_gateway.names import ShortName


class NewTeam(Contract):
    """A team to be, with nobody in it yet."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Operations"}]})

    name: ShortName


class TeamChange(Contract):
    """What a team is called from now on."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Operations and support"}]})

    name: ShortName


class Team(Reply):
    id: str
    name: str
    members: int = Field(description="How many belong to it.")
    version: int
    created_at: datetime
    updated_at: datetime
