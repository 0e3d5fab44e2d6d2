"""Publish an event, with the commit of the step."""

from __future__ import annotations

from uuid import UUID, uuid5

from crewmesh_contracts.events import LONGEST_ATTRIBUTE
from crewmesh_contracts.workflow.nodes.emit import EmitNode

from crewmesh_workflow.expressions import ExpressionError
from crewmesh_workflow.expressions.values import as_text
from crewmesh_workflow.nodes.base import Decided, Decision, Emitted, Place, Reader, kind
from crewmesh_workflow.nodes.event_types import check_type
from crewmesh_workflow.nodes.members import read_text

# Any fixed value will do; with another one, a step that is decided again would publish a second event.
_EVENTS = UUID("b3a6f7f0-5d0c-5a52-9c0e-6f1f6a0c7d11")


def event_id(run: str, path: str) -> str:
    """The same whenever the step is decided again."""
    return f"evt_{uuid5(_EVENTS, f'{run}/{path}').hex}"


def _bind(node: EmitNode, read: Reader) -> Decision:
    read.written("type", node.type, check_type)
    subject = read_text(read, "subject", node.subject)
    if node.subject is not None:
        read.constant("subject", read.template("subject", node.subject), lambda value: _checked(as_text(value)))
    data = read.template("data", node.data)

    def decide(place: Place) -> Decided:
        event = Emitted(
            id=event_id(place.run, place.path),
            type=node.type,
            subject=_checked(subject(place.scope)),
            data=data.value(place.scope),
        )
        return Decided({"event": event.id}, emits=event)

    return Decision(decide)


def _checked(subject: str | None) -> str | None:
    if subject is not None and not 1 <= len(subject) <= LONGEST_ATTRIBUTE:
        raise ExpressionError(f"subject must have 1 to {LONGEST_ATTRIBUTE} characters, but has {len(subject)}")
    return subject


KIND = kind(EmitNode, _bind)
