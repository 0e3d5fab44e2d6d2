"""End with an error of the author's own."""

from __future__ import annotations

from crewmesh_contracts.workflow.nodes.fail import FailNode

from crewmesh_workflow.nodes.base import Decision, Place, Reader, Refused, kind

FAILED_BY_WORKFLOW = "failed-by-workflow"
_LONGEST_MESSAGE = 2_000


def _bind(node: FailNode, read: Reader) -> Decision:
    message = read.template("message", node.message)

    def decide(place: Place) -> Refused:
        return Refused(FAILED_BY_WORKFLOW, message.text(place.scope)[:_LONGEST_MESSAGE])

    return Decision(decide)


KIND = kind(FailNode, _bind)
