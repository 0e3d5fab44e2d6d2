"""A role: what an agent becomes that names it as its preset."""

from __future__ import annotations

from typing import Annotated

from crewmesh_contracts.base import Contract
from crewmesh_contracts.ids import Slug
from pydantic import Field

from crewmesh_agent_crew.records.models import Line, Text


class Specialization(Contract):
    """More of the backstory, and more skills."""

    name: Slug
    skills: Annotated[tuple[Slug, ...], Field(max_length=20)] = ()
    backstory: Annotated[Text, Field(min_length=1, max_length=4_000)]


class RolePrompt(Contract):
    """``name`` is the preset. ``skills``: what such an agent is found by, the most fitting first."""

    name: Slug
    description: Annotated[Line, Field(min_length=1, max_length=300)]
    role: Annotated[Line, Field(min_length=1, max_length=200)]
    goal: Annotated[Text, Field(min_length=1, max_length=1_000)]
    backstory: Annotated[Text, Field(min_length=1, max_length=8_000)]
    skills: Annotated[tuple[Slug, ...], Field(min_length=1, max_length=20)]
    specializations: tuple[Specialization, ...] = ()

    def specialized(self, name: str) -> RolePrompt | None:
        """The role with what the specialization adds; none when there is none of the name."""
        special = next((each for each in self.specializations if each.name == name), None)
        if special is None:
            return None
        skills = tuple(dict.fromkeys((*special.skills, *self.skills)))
        return self.model_copy(update={"backstory": f"{self.backstory}\n\n{special.backstory}", "skills": skills})
