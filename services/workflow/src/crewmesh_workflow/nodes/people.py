"""What the nodes that ask people have in common."""

from __future__ import annotations

from collections.abc import Callable

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.workflow.nodes.approval import ApprovalNode
from crewmesh_contracts.workflow.nodes.input_ import InputNode

from crewmesh_workflow.expressions import Scope
from crewmesh_workflow.nodes.base import Reader
from crewmesh_workflow.nodes.members import read_text

Asking = ApprovalNode | InputNode


def read_question(read: Reader, node: Asking) -> Callable[[Scope], JsonObject]:
    title = read.template("title", node.title)
    details = read_text(read, "details", node.details)
    return lambda scope: {"title": title.text(scope), "details": details(scope)}


def asked_people(node: Asking) -> JsonObject:
    escalation = None if node.escalation is None else node.escalation.model_dump(mode="json")
    return {"assignees": list(node.assignees), "escalation": escalation}


def escalate_seconds(node: Asking) -> float | None:
    return None if node.escalation is None else node.escalation.after_seconds
