"""Wait for an event that belongs to this run."""

from __future__ import annotations

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow.nodes.base import OUT
from crewmesh_contracts.workflow.nodes.wait_event import TIMEOUT, WaitEventNode

from crewmesh_workflow.expressions import Condition, ExpressionError, Scope
from crewmesh_workflow.nodes.base import Decided, Place, Reader, WaitFor, Waiting, kind
from crewmesh_workflow.nodes.event_types import check_type
from crewmesh_workflow.triggers.matching import segments


def _bind(node: WaitEventNode, read: Reader) -> Waiting:
    read.written("type", node.type, check_type)
    key = None if node.key is None else read.template("key", node.key)
    if key is not None:
        read.constant("key", key, _check_key)
        read.written("correlation", node.correlation, _check_correlation)
    condition = None if node.filter is None else read.condition("filter", node.filter, reads=("event",))

    def render_key(scope: Scope) -> str | None:
        if key is None:
            return None
        _check_key(key.value(scope))
        return key.text(scope)

    def render(place: Place) -> WaitFor:
        request: JsonObject = {"source": node.source, "correlation": node.correlation, "filter": node.filter}
        if condition is not None:
            request["sees"] = _seen(condition, place.scope)
        return WaitFor(
            "event",
            request=request,
            seconds=node.timeout_seconds,
            event_type=node.type,
            event_key=render_key(place.scope),
        )

    return Waiting(render=render, arrived=_arrived, over=_over)


def _check_key(value: JsonValue) -> None:
    if value in (None, ""):
        raise ExpressionError("key has no value; without one, any event of the type would end the wait")


def _check_correlation(path: str) -> None:
    if not segments(path):
        raise ExpressionError("this names nothing in the event; write a path such as subject or data.order_id")


def _seen(condition: Condition, scope: Scope) -> JsonObject:
    """What the filter reads of the run. It goes along, for the event is judged where the run is not."""
    everything = scope.all()
    roots = condition.roots() - {"event", "steps"}
    seen: JsonObject = {root: everything[root] for root in sorted(roots) if root in everything}
    if "steps" in condition.roots():
        seen["steps"] = {
            step: {"output": scope.outputs[step]} for step in condition.step_names() if step in scope.outputs
        }
    return seen


def _arrived(data: JsonObject) -> Decided:
    return Decided({"event": data.get("event")}, (OUT,))


def _over(_: str) -> Decided:
    return Decided({"event": None}, (TIMEOUT,))


KIND = kind(WaitEventNode, _bind)
