"""Roles as files for people: front matter in YAML, then the backstory as it is.

A heading ``# Specialization: python (skills: python, testing)`` begins the text of one; everything before the first of
them is the backstory of the role itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from crewmesh_kit.documents.yaml_text import read_yaml

from crewmesh_agent_crew.role_prompts.models import RolePrompt, Specialization

_FILE = re.compile(r"\A---\n(?P<front>.*?)\n---\n(?P<body>.*)\Z", re.DOTALL)
_SPECIALIZATION = re.compile(r"^# Specialization: (\S+)(?: \(skills: ([^)]*)\))?$", re.MULTILINE)


@cache
def roles() -> Mapping[str, RolePrompt]:
    """Every role there is, by name."""
    folder = files("crewmesh_agent_crew.role_prompts").joinpath("roles")
    texts = sorted(
        (file.name.removesuffix(".md"), file.read_text(encoding="utf-8"))
        for file in folder.iterdir()
        if file.name.endswith(".md")
    )
    return MappingProxyType({name: read_role(name, text) for name, text in texts})


def presets_with(skill: str | None) -> tuple[str, ...]:
    """The roles that have a skill, so that who is one has it without saying so."""
    return tuple(role.name for role in roles().values() if skill in role.skills)


def read_role(name: str, text: str) -> RolePrompt:
    parts = _FILE.match(text)
    if parts is None:
        raise ValueError(f"the role {name!r} does not begin with front matter between two lines of ---")
    backstory, *special = _SPECIALIZATION.split(parts["body"])
    specializations = [
        Specialization(name=slug, skills=tuple(re.findall(r"[^,\s]+", skills or "")), backstory=body.strip())
        for slug, skills, body in zip(special[::3], special[1::3], special[2::3], strict=True)
    ]
    front = read_yaml(parts["front"])
    if not isinstance(front, dict):
        raise ValueError(f"the front matter of the role {name!r} is no map")
    return RolePrompt.model_validate(
        {**front, "name": name, "backstory": backstory.strip(), "specializations": tuple(specializations)}
    )
