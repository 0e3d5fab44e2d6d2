"""Let a crew of agents think."""

from __future__ import annotations

from typing import ClassVar, Literal

from crewmesh_contracts.ids import Slug
from crewmesh_contracts.invocations.crews import KickoffResult
from crewmesh_contracts.workflow.nodes.base import EffectNode, Template


class CrewNode(EffectNode):
    """Output: ``text`` (the crew's answer), ``messages`` (who said what) and ``usage`` (model and tokens)."""

    Output: ClassVar = KickoffResult

    kind: Literal["crew"]
    crew: Slug
    inputs: dict[str, Template]
    timeout_seconds: float = 600.0
