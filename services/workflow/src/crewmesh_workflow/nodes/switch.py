"""Take the way of the first case whose condition is true."""

from __future__ import annotations

from crewmesh_contracts.workflow.nodes.switch import DEFAULT, SwitchNode

from crewmesh_workflow.nodes.base import Decided, Decision, Place, Reader, kind


def _bind(node: SwitchNode, read: Reader) -> Decision:
    cases = [
        (case.port, read.condition(f"cases.{number}.condition", case.condition))
        for number, case in enumerate(node.cases)
    ]

    def decide(place: Place) -> Decided:
        port = next((port for port, condition in cases if condition.evaluate(place.scope)), DEFAULT)
        return Decided({"case": port}, (port,))

    return Decision(decide)


KIND = kind(SwitchNode, _bind)
