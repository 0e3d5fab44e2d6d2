"""What a budget can be for, and which of these a call is charged to."""

from __future__ import annotations

from typing import Literal, TypeAlias

from crewmesh_agent_crew.spending.charge import Charge

ScopeKind: TypeAlias = Literal["organization", "team", "workflow", "agent", "crew", "run", "user", "key"]


def scopes_of(charge: Charge) -> list[tuple[ScopeKind, str]]:
    """Kind and id of everything that the call belongs to; never nothing.

    What no run of a workflow asked for belongs to the run of its crew: each is bounded by the budgets of runs.
    """
    named: list[tuple[ScopeKind, str | None]] = [
        ("organization", charge.organization),
        *(("team", team) for team in sorted(charge.teams)),
        ("workflow", charge.workflow),
        ("agent", charge.agent),
        ("crew", charge.crew),
        ("run", charge.run or charge.crew_run),
        ("user", charge.user),
        ("key", charge.api_key),
    ]
    return [(kind, id_) for kind, id_ in named if id_ is not None]
