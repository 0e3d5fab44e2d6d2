"""Crews that are shipped: those that a new organization gets, and templates of which crews are made."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from crewmesh_kit.documents.yaml_text import read_yaml

from crewmesh_agent_crew.crews.models import CrewDefinition


@cache
def starter_crews() -> tuple[CrewDefinition, ...]:
    """Those that a new organization gets."""
    return _shipped("starters")


@cache
def crew_templates() -> Mapping[str, CrewDefinition]:
    """Squads for research, analysis, implementation and quality assurance, by name."""
    return MappingProxyType({definition.name: definition for definition in _shipped("templates")})


def _shipped(folder: str) -> tuple[CrewDefinition, ...]:
    found = files("crewmesh_agent_crew.crews").joinpath(folder)
    return tuple(
        CrewDefinition.model_validate(read_yaml(file.read_text(encoding="utf-8")))
        for file in sorted(found.iterdir(), key=lambda file: file.name)
        if file.name.endswith(".yaml")
    )
