"""Go several ways at once."""

from __future__ import annotations

from crewmesh_contracts.workflow.nodes.parallel import ParallelNode

from crewmesh_workflow.nodes.base import Decided, Decision, Place, Reader, kind


def _bind(node: ParallelNode, read: Reader) -> Decision:
    def decide(place: Place) -> Decided:
        return Decided({}, node.branches)

    return Decision(decide)


KIND = kind(ParallelNode, _bind)
