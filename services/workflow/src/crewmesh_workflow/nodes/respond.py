"""Answer whoever started the run."""

from __future__ import annotations

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.workflow.nodes.respond import RespondNode

from crewmesh_workflow.nodes.base import Decided, Decision, Place, Reader, kind
from crewmesh_workflow.nodes.members import read_texts


def _bind(node: RespondNode, read: Reader) -> Decision:
    headers = read_texts(read, "headers", node.headers)
    body = read.template("body", node.body)

    def decide(place: Place) -> Decided:
        response: JsonObject = {
            "status": node.status,
            "headers": {**headers(place.scope)},
            "body": body.value(place.scope),
        }
        return Decided(response, response=response)

    return Decision(decide)


KIND = kind(RespondNode, _bind)
