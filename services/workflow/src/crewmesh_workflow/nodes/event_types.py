"""Types of events, as they stand in definitions."""

from __future__ import annotations

from crewmesh_contracts.events import wrong_type

from crewmesh_workflow.expressions import ExpressionError


def check_type(type_: str) -> None:
    """By the rule by which events that are sent are taken: raises ExpressionError for a type that never comes."""
    if (wrong := wrong_type(type_)) is not None:
        raise ExpressionError(wrong)
