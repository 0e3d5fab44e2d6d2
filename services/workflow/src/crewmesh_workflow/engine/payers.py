"""In whose name a run works: whoever started it, with the teams they were in then. It opens nothing, it only pays.

A run of a run works in the name of the first; what a trigger starts works in the trigger's.
"""

from __future__ import annotations

from crewmesh_contracts.base import Contract
from crewmesh_kit.identity import Identity

_TEAM = "team:"


class PaidBy(Contract):
    by: str | None = None
    teams: tuple[str, ...] = ()

    @classmethod
    def of(cls, identity: Identity) -> PaidBy:
        teams = sorted(group.removeprefix(_TEAM) for group in identity.groups if group.startswith(_TEAM))
        return cls(by=identity.subject, teams=tuple(teams))


NOBODY = PaidBy()
