"""Shape data."""

from __future__ import annotations

from crewmesh_contracts.workflow.nodes.transform import TransformNode

from crewmesh_workflow.nodes.base import Decided, Decision, Place, Reader, kind
from crewmesh_workflow.nodes.members import read_object


def _bind(node: TransformNode, read: Reader) -> Decision:
    output = read_object(read, "output", node.output)

    def decide(place: Place) -> Decided:
        return Decided(output(place.scope))

    return Decision(decide)


KIND = kind(TransformNode, _bind)
