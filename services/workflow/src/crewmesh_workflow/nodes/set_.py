"""Set variables of the run. All values are made from the variables as they were before."""

from __future__ import annotations

from crewmesh_contracts.workflow.nodes.set_ import SetNode

from crewmesh_workflow.nodes.base import Decided, Decision, Place, Reader, kind
from crewmesh_workflow.nodes.members import read_object


def _bind(node: SetNode, read: Reader) -> Decision:
    variables = read_object(read, "variables", node.variables)

    def decide(place: Place) -> Decided:
        values = variables(place.scope)
        return Decided(values, sets=values)

    return Decision(decide)


KIND = kind(SetNode, _bind)
