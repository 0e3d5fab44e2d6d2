"""Take one of two ways."""

from __future__ import annotations

from crewmesh_contracts.workflow.nodes.if_ import IfNode

from crewmesh_workflow.nodes.base import Decided, Decision, Place, Reader, kind


def _bind(node: IfNode, read: Reader) -> Decision:
    condition = read.condition("condition", node.condition)

    def decide(place: Place) -> Decided:
        result = condition.evaluate(place.scope)
        return Decided({"result": result}, ("true" if result else "false",))

    return Decision(decide)


KIND = kind(IfNode, _bind)
