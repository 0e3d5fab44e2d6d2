"""What a workflow of ``graph_strategies`` must come to: its graph evaluated directly, in one go, without a journal.

Small on purpose and written apart from the engine: it reads the definition's JSON and shares no code with it.
"""

from __future__ import annotations

import json
import re
import zlib
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, cast

from crewmesh_contracts.base import JsonObject, JsonValue

from services.workflow.tests.graph_strategies import DOWN, RACER, REFUSED, Case

_TEMPLATE = re.compile(r"\{\{ ([a-z0-9_.-]+)(?: \?\? (\d+))? \}\}")
_COMPARISON = re.compile(r"([a-z.]+) (>|<|% 2 ==) (\d+)")


def far_side(path: str, number: JsonValue) -> JsonObject:
    """What an effect answers: the same whenever it is asked the same."""
    asked = json.dumps(number, sort_keys=True)  # PostgreSQL does not keep the order of members
    return {"status": 200, "headers": {}, "body": {"v": zlib.crc32(f"{path} {asked}".encode()) % 1000}}


@dataclass(slots=True)
class Outcome:
    """``completed``: output by path. ``effects``: those that happened, in order. Races are left out of both."""

    status: Literal["completed", "failed", "cancelled"] = "completed"
    output: JsonObject | None = None
    completed: dict[str, JsonObject] = field(default_factory=dict[str, JsonObject])
    skipped: set[str] = field(default_factory=set[str])
    effects: list[str] = field(default_factory=list[str])


class _FailedError(Exception):
    """Nothing catches it on the way to whoever holds the graph."""


@dataclass(slots=True, frozen=True)
class _Scope:
    roots: Mapping[str, JsonValue]
    outputs: Mapping[str, JsonValue]

    def below(self, roots: Mapping[str, JsonValue]) -> _Scope:
        return _Scope({**self.roots, **roots}, self.outputs)

    def resolve(self, path: str) -> JsonValue:
        """Nothing is found as null, which every expression here has a default for."""
        root, *names = path.split(".")
        found: JsonValue = self.roots.get(root)
        if root == "steps":
            found = self.outputs.get(names[0])
            names = names[2:]  # the id, and "output"
        for name in names:
            found = found.get(name) if isinstance(found, dict) else None
        return found


@dataclass(frozen=True, slots=True)
class _Undo:
    path: str
    node: JsonObject
    scope: _Scope


class Reference:
    def __init__(self, case: Case) -> None:
        self._case = case
        self._variables: dict[str, JsonValue] = {}
        self._undo: list[_Undo] = []
        self.outcome = Outcome()

    def run(self) -> Outcome:
        roots: JsonObject = {"trigger": {"data": self._case.data}, "vars": self._variables}
        scope = _Scope(roots, {})
        try:
            self.outcome.output = self._graph(self._case.definition, "", scope)
        except _FailedError:
            self.outcome.status = "failed"
            self._fail(scope)
        return self.outcome

    def _fail(self, scope: _Scope) -> None:
        for undo in reversed(self._undo):
            self._effect(undo.node, undo.path, undo.scope)
        handler = self._case.definition.get("on_failure")
        if isinstance(handler, dict):
            self._graph(handler, "!failure.", scope)

    def _graph(self, graph: JsonObject, prefix: str, scope: _Scope) -> JsonObject:
        """Nodes stand in an order that respects the edges."""
        outputs: dict[str, JsonValue] = {}
        inner = _Scope(scope.roots, ChainMap(outputs, cast(dict[str, JsonValue], scope.outputs)))
        taken: set[tuple[str, str]] = set()
        for node in _objects(graph["nodes"]):
            id_ = str(node["id"])
            incoming = [edge for edge in _objects(graph["edges"]) if edge["to"] == id_]
            if incoming and not any((edge["from"], edge["port"]) in taken for edge in incoming):
                self.outcome.skipped |= set() if id_.startswith(RACER) else {prefix + id_}
                continue
            output, ports = self._node(node, prefix + id_, inner)
            outputs[id_] = output
            taken |= {(id_, port) for port in ports}
            if not id_.startswith(RACER):
                self.outcome.completed[prefix + id_] = output
        return cast(JsonObject, _render(graph["output"], inner))

    def _node(self, node: JsonObject, path: str, scope: _Scope) -> tuple[JsonObject, list[str]]:
        match node["kind"]:
            case "http":
                return self._http(node, path, scope)
            case "transform":
                return cast(JsonObject, _render(node["output"], scope)), ["out"]
            case "set":
                values = cast(JsonObject, _render(node["variables"], scope))
                self._variables.update(values)
                return values, ["out"]
            case "if":
                result = _is_true(str(node["condition"]), scope)
                return {"result": result}, ["true" if result else "false"]
            case "switch":
                port = next(
                    (str(case["port"]) for case in _objects(node["cases"]) if _is_true(str(case["condition"]), scope)),
                    "default",
                )
                return {"case": port}, [port]
            case "parallel":
                return {}, [str(branch) for branch in cast("list[JsonValue]", node["branches"])]
            case "for_each":
                return self._for_each(node, path, scope), ["out"]
            case "while":
                return self._while(node, path, scope), ["out"]
            case _:
                return {}, ["out"]

    def _http(self, node: JsonObject, path: str, scope: _Scope) -> tuple[JsonObject, list[str]]:
        if str(node["url"]).rsplit("/", 1)[1] in (DOWN, REFUSED):  # nothing to undo, also where its failure is handled
            if node.get("on_error", "fail") == "fail":
                raise _FailedError
            return {}, ["error" if node["on_error"] == "handle" else "out"]
        output = self._effect(node, path, scope)
        if isinstance(compensation := node.get("compensate"), dict):
            own = ChainMap({str(node["id"]): cast(JsonValue, output)}, cast(dict[str, JsonValue], scope.outputs))
            undo = cast(JsonObject, compensation["do"])
            self._undo.append(_Undo(f"{path}!undo", undo, replace(scope, outputs=own)))
        return output, ["out"]

    def _effect(self, node: JsonObject, path: str, scope: _Scope) -> JsonObject:
        output = far_side(path, cast(JsonObject, _render(node["body"], scope))["number"])
        if RACER not in path:
            self.outcome.effects.append(path)
        if path.endswith("!undo") and RACER not in path:
            self.outcome.completed[path] = output
        return output

    def _for_each(self, node: JsonObject, path: str, scope: _Scope) -> JsonObject:
        items: list[JsonValue] = []
        failed: list[JsonValue] = []
        body = cast(JsonObject, node["body"])
        for index, item in enumerate(cast("list[JsonValue]", _render(node["items"], scope))):
            try:
                inner = scope.below({"item": item, "index": index})
                items.append(self._graph(body, f"{path}[{index}].", inner))
            except _FailedError:
                if node["on_item_error"] == "fail":
                    raise
                items.append(None)
                failed.append(index)
        return {"items": items, "failed": failed, "count": len(items)}

    def _while(self, node: JsonObject, path: str, scope: _Scope) -> JsonObject:
        last: JsonValue = None
        index = 0
        while _is_true(str(node["condition"]), scope.below({"index": index, "last": last})):
            inner = scope.below({"index": index, "last": last})
            last = self._graph(cast(JsonObject, node["body"]), f"{path}[{index}].", inner)
            index += 1
        return {"iterations": index, "last": last}


def _objects(value: JsonValue) -> list[JsonObject]:
    return cast("list[JsonObject]", value)


def _render(value: JsonValue, scope: _Scope) -> JsonValue:
    if isinstance(value, dict):
        return {name: _render(member, scope) for name, member in value.items()}
    if isinstance(value, list):
        return [_render(member, scope) for member in value]
    if not isinstance(value, str):
        return value
    written = _TEMPLATE.fullmatch(value)
    assert written is not None, value
    found = scope.resolve(written[1])
    return int(written[2]) if found is None and written[2] else found


def _is_true(condition: str, scope: _Scope) -> bool:
    if (written := _COMPARISON.fullmatch(condition)) is None:
        return scope.resolve(condition) is True
    found, limit = scope.resolve(written[1]), int(written[3])
    assert isinstance(found, int)
    match written[2]:
        case ">":
            return found > limit
        case "<":
            return found < limit
        case _:
            return found % 2 == limit
