"""Ask people for a yes."""

from __future__ import annotations

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.workflow.nodes.approval import ApprovalNode

from crewmesh_workflow.nodes.base import Decided, Place, Reader, WaitFor, Waiting, kind
from crewmesh_workflow.nodes.people import asked_people, escalate_seconds, read_question


def _bind(node: ApprovalNode, read: Reader) -> Waiting:
    question = read_question(read, node)
    data = read.template("data", node.data)

    def render(place: Place) -> WaitFor:
        return WaitFor(
            "approval",
            request={
                **question(place.scope),
                **asked_people(node),
                "data": data.value(place.scope),
                "quorum": node.quorum,
            },
            seconds=node.expires_seconds,
            escalate_seconds=escalate_seconds(node),
        )

    return Waiting(render=render, arrived=_arrived, over=_over)


def _arrived(data: JsonObject) -> Decided:
    approved = data.get("approved") is True
    output: JsonObject = {"approved": approved, "data": data.get("data"), "decisions": data.get("decisions", [])}
    return Decided(output, ("approved" if approved else "rejected",))


def _over(_: str) -> Decided:
    return Decided({"approved": False, "data": None, "decisions": []}, ("expired",))


KIND = kind(ApprovalNode, _bind)
