"""Ask a person to fill in a form."""

from __future__ import annotations

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.workflow.nodes.base import OUT
from crewmesh_contracts.workflow.nodes.input_ import InputNode

from crewmesh_workflow.nodes.base import Decided, Place, Reader, WaitFor, Waiting, kind
from crewmesh_workflow.nodes.people import asked_people, escalate_seconds, read_question


def _bind(node: InputNode, read: Reader) -> Waiting:
    question = read_question(read, node)

    def render(place: Place) -> WaitFor:
        return WaitFor(
            "input",
            request={**question(place.scope), **asked_people(node), "form": node.form},
            seconds=node.expires_seconds,
            escalate_seconds=escalate_seconds(node),
        )

    return Waiting(render=render, arrived=_arrived, over=_over)


def _arrived(data: JsonObject) -> Decided:
    return Decided({"data": data.get("data"), "by": data.get("by")}, (OUT,))


def _over(_: str) -> Decided:
    return Decided({"data": None, "by": None}, ("expired",))


KIND = kind(InputNode, _bind)
