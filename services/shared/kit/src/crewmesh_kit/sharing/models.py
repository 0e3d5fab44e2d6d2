"""Levels, kinds of resources, grants, and what a route needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, TypeAlias, get_args

from crewmesh_contracts.base import Contract, Reply
from crewmesh_contracts.ids import HEX_ID
from pydantic import Field, StringConstraints, field_validator

Level: TypeAlias = Literal["view", "run", "edit"]
# Each holds the ones before it.
LEVELS: tuple[Level, ...] = get_args(Level)
MOST_GRANTS = 200

_IDS = "|".join(
    (
        rf"user:usr_{HEX_ID}",
        rf"team:team_{HEX_ID}",
        rf"role:(?:viewer|editor|admin|owner|role_{HEX_ID})",
        rf"service-account:sva_{HEX_ID}",
        rf"workflow:wf_{HEX_ID}",
        rf"crew:crew_{HEX_ID}",
        rf"agent:agt_{HEX_ID}",
    )
)
Grantee: TypeAlias = Annotated[
    str,
    StringConstraints(pattern=rf"^(?:{_IDS})$", max_length=80),
    Field(
        description="user:usr_…, team:team_…, role:editor or role:role_…, service-account:sva_…, workflow:wf_…, "
        "crew:crew_…, agent:agt_…"
    ),
]


@dataclass(frozen=True, slots=True)
class Kind:
    """Resources that are shared one by one. ``path``: where they are under /v1; ``called``: what people call one."""

    name: str
    path: str
    called: str


@dataclass(frozen=True, slots=True)
class Need:
    """What is needed for something that is done with one resource: a level of it, or a permission for all of them.

    ``seeing``: the permission by which one knows that there is such a resource at all.
    """

    kind: Kind
    level: Level
    permission: str
    seeing: str


@dataclass(frozen=True, slots=True)
class Shared:
    """One resource's access, as it is asked for."""

    restricted: bool
    grants: Mapping[str, Level]


class Grant(Contract):
    grantee: Grantee
    level: Level


class AccessRequest(Contract):
    """The whole of it: what is left out is taken away."""

    restricted: bool = False
    grants: Annotated[tuple[Grant, ...], Field(max_length=MOST_GRANTS)] = ()

    model_config = {
        "json_schema_extra": {
            "examples": [
                {
                    "restricted": True,
                    "grants": [
                        {"grantee": "team:team_018f3a2b7c9d7e8fa0b1c2d3e4f50617", "level": "edit"},
                        {"grantee": "role:viewer", "level": "view"},
                    ],
                }
            ]
        }
    }

    @field_validator("grants")
    @classmethod
    def _one_level_each(cls, grants: tuple[Grant, ...]) -> tuple[Grant, ...]:
        named = [grant.grantee for grant in grants]
        twice = sorted({grantee for grantee in named if named.count(grantee) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} is named more than once; the highest level holds the others")
        return grants


class ResourceAccess(Reply):
    """Who may view, run and edit one resource. ``version`` is also its ETag."""

    resource: str
    restricted: bool
    grants: tuple[Grant, ...]
    version: int
