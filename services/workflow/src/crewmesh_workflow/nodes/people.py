"""What the nodes that ask people have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.workflow.nodes.approval import ApprovalNode
from crewmesh_contracts.workflow.nodes.input_ import InputNode

from crewmesh_workflow.expressions import ExpressionError, Scope
from crewmesh_workflow.nodes.base import Reader
from crewmesh_workflow.nodes.members import read_text

Asking = ApprovalNode | InputNode


def read_question(read: Reader, node: Asking) -> Callable[[Scope], JsonObject]:
    _check_asked(read, node)
    title = read.template("title", node.title)
    details = read_text(read, "details", node.details)
    return lambda scope: {"title": title.text(scope), "details": details(scope)}


def _check_asked(read: Reader, node: Asking) -> None:
    read.written("assignees", node.assignees, check_each_once)
    later: tuple[str, ...] = ()
    if node.escalation is not None:
        later = node.escalation.to
        read.written("escalation.to", later, check_each_once)
        read.written("escalation.after_seconds", node, _check_escalation)
    if isinstance(node, ApprovalNode):
        read.written("quorum", node.quorum, lambda quorum: check_quorum(quorum, node.assignees, later))


def check_each_once(assignees: Sequence[str]) -> None:
    twice = next((name for name in assignees if assignees.count(name) > 1), None)
    if twice is not None:
        raise ExpressionError(f"{twice} is there twice; name each once")


def check_quorum(quorum: int, assignees: Sequence[str], later: Sequence[str] = ()) -> None:
    """Of a role or a team nobody knows here how many belong to it, and an empty list asks everybody."""
    asked = {*assignees, *later}
    if assignees and quorum > len(asked) and all(name.startswith("user:") for name in asked):
        raise ExpressionError(
            f"{quorum} people must say yes, but {len(asked)} are asked; ask more, a role or a team, or lower the quorum"
        )


def _check_escalation(node: Asking) -> None:
    after, over = escalate_seconds(node), node.expires_seconds
    if after is not None and over is not None and after >= over:
        raise ExpressionError(
            f"by then it is over: the question expires after {over:g} seconds; escalate sooner, or let it expire later"
        )


def asked_people(node: Asking) -> JsonObject:
    escalation = None if node.escalation is None else node.escalation.model_dump(mode="json")
    return {"assignees": list(node.assignees), "escalation": escalation}


def escalate_seconds(node: Asking) -> float | None:
    return None if node.escalation is None else node.escalation.after_seconds
