"""A policy: a tag, and what holds for agents and crews that have it. Where several hold, the strictest counts."""

from __future__ import annotations

import re
from typing import Annotated, Literal, TypeAlias

import jsonschema_rs
from crewmesh_contracts.base import Contract
from crewmesh_contracts.ids import Slug
from pydantic import Field, StringConstraints, field_validator

from crewmesh_agent_crew.guardrails.settings import Injection, Pii

# ``*`` stands for anything, nothing else has a meaning.
NamePattern: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:/*-]+$", max_length=200)]
Tag: TypeAlias = Annotated[str, StringConstraints(pattern=r"^(?:\*|[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*)$", max_length=64)]
Phrase: TypeAlias = Annotated[str, StringConstraints(min_length=2, max_length=200, pattern=r"^[^\x00]*\S[^\x00]*$")]
Pattern: TypeAlias = Annotated[str, StringConstraints(min_length=2, max_length=500, pattern=r"^[^\x00]+$")]

_MOST = 50
_MOST_COMPILED_BYTES = 200_000


class ToolMatch(Contract):
    """Tools that are all of what is said here. ``outward``: those that may reach out into the world, or may not."""

    kinds: Annotated[tuple[Literal["http", "knowledge", "code", "action", "mcp"], ...], Field(max_length=5)] = ()
    outward: bool | None = None
    name: NamePattern = "*"

    def holds_for(self, *, kind: str, outward: bool, name: str) -> bool:
        return (
            (not self.kinds or kind in self.kinds)
            and (self.outward is None or self.outward == outward)
            and named_so(self.name, name)
        )


class ApprovalRule(Contract):
    """``single``: a person agrees once per run and agent; ``always``: to every use."""

    tools: ToolMatch = ToolMatch()
    approval: Literal["single", "always"] = "always"


class LimitsAtMost(Contract):
    """One turn of an agent may take no more than this, whatever its definition says."""

    model_calls: Annotated[int, Field(ge=1, le=200)] | None = None
    tool_calls: Annotated[int, Field(ge=0, le=200)] | None = None
    seconds: Annotated[float, Field(gt=0, le=86_400)] | None = None
    tokens: Annotated[int, Field(ge=1, le=100_000_000)] | None = None


class PolicyDefinition(Contract):
    """``tag``: of agents or crews; ``*``: of all. ``pii`` and ``injection``: at least so. ``rule_of_two``: on for them
    whatever they say, or off; left out, their own definitions decide."""

    name: Slug
    description: Annotated[str, StringConstraints(max_length=1_000, pattern=r"^[^\x00]*$")] = ""
    tag: Tag = "*"
    approvals: Annotated[tuple[ApprovalRule, ...], Field(max_length=_MOST)] = ()
    forbidden_tools: Annotated[tuple[ToolMatch, ...], Field(max_length=_MOST)] = ()
    forbidden_models: Annotated[tuple[NamePattern, ...], Field(max_length=_MOST)] = ()
    forbidden_phrases: Annotated[tuple[Phrase, ...], Field(max_length=_MOST)] = ()
    forbidden_patterns: Annotated[
        tuple[Pattern, ...], Field(max_length=_MOST, description="Regular expressions, without lookaround.")
    ] = ()
    pii: Pii = "allow"
    injection: Injection = "mark"
    rule_of_two: bool | None = None
    limits: LimitsAtMost = LimitsAtMost()

    model_config = {
        "json_schema_extra": {
            "examples": [
                {
                    "name": "customer-data",
                    "description": "Whoever works with customers asks before anything leaves the house.",
                    "tag": "customers",
                    "approvals": [{"tools": {"outward": True}, "approval": "always"}],
                    "forbidden_tools": [{"kinds": ["mcp"]}],
                    "forbidden_models": ["openrouter/*"],
                    "pii": "mask",
                    "rule_of_two": True,
                    "limits": {"tool_calls": 10},
                }
            ]
        }
    }

    @field_validator("forbidden_patterns")
    @classmethod
    def _can_be_looked_for(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            says_no_to(pattern)
        return patterns


def says_no_to(pattern: str) -> jsonschema_rs.Validator:
    """A checker of text, on an engine that is linear in it."""
    options = jsonschema_rs.RegexOptions(size_limit=_MOST_COMPILED_BYTES)
    try:
        return jsonschema_rs.validator_for({"not": {"pattern": pattern}}, pattern_options=options)
    except (ValueError, jsonschema_rs.ReferencingError) as error:
        raise ValueError(
            f"the regular expression {pattern[:80]!r} cannot be used: it is malformed, uses lookaround or a back "
            "reference, or is too large"
        ) from error


def named_so(pattern: str, name: str) -> bool:
    return re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), name, re.DOTALL) is not None
