"""The workflows of the benchmark's own engine, all started by events; their effects do nothing."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow import Definition
from crewmesh_contracts.workflow.nodes.http import HttpNode
from crewmesh_workflow.nodes import http
from crewmesh_workflow.nodes.base import CompiledEffect, EffectContext, Reader, kind

from tests.load.chain import EFFECTS, FAN_OUT, ONE_RESULT

# Waiting runs go on with the event of this type whose subject is theirs.
GO = "bench.go"
_AT_A_TIME = 50


@dataclass(frozen=True, slots=True)
class BenchWorkflow:
    """``steps``: how many a run of it has in the journal when it has ended."""

    name: str
    definition: Definition
    steps: int

    @property
    def event_type(self) -> str:
        return f"bench.{self.name}"


def _workflow(name: str, nodes: list[JsonValue], *, steps: int, output: JsonObject | None = None) -> BenchWorkflow:
    """The nodes one after another."""
    ids = [node["id"] for node in nodes if isinstance(node, dict)]
    edges: list[JsonValue] = [{"from": before, "to": after} for before, after in pairwise(ids)]
    body: JsonObject = {"name": name, "nodes": nodes, "edges": edges, "output": output or {}}
    body["triggers"] = [{"kind": "event", "type": f"bench.{name}"}]
    return BenchWorkflow(name, Definition.model_validate(body), steps)


def _effects(count: int) -> list[JsonValue]:
    """Each reads the event, and all but the first the result before it."""
    nodes: list[JsonValue] = []
    for number in range(count):
        body: JsonObject = {"subject": "{{ trigger.data.subject }}"}
        if number:
            body["before"] = f"{{{{ steps.effect-{number - 1}.output.status }}}}"
        nodes.append({"id": f"effect-{number}", "kind": "http", "url": "http://nowhere.invalid/", "body": body})
    return nodes


def _ten_pure() -> list[JsonValue]:
    nodes: list[JsonValue] = [{"id": "pure-0", "kind": "transform", "output": {"number": 0}}]
    for number in range(1, 10):
        output: JsonObject = {"number": f"{{{{ steps.pure-{number - 1}.output.number }}}}", "at": number}
        nodes.append({"id": f"pure-{number}", "kind": "transform", "output": output})
    return nodes


_LAST: JsonObject = {"last": f"{{{{ steps.effect-{EFFECTS - 1}.output.status }}}}"}
_WAIT: JsonObject = {"id": "wait", "kind": "wait_event", "type": GO, "key": "{{ trigger.subject }}"}
_LOOP: JsonObject = {
    "id": "each",
    "kind": "for_each",
    "items": [*range(FAN_OUT)],
    "concurrency": _AT_A_TIME,
    "body": {
        "nodes": [{"id": "effect", "kind": "http", "url": "http://nowhere.invalid/", "body": {"number": "{{ item }}"}}]
    },
}

FIVE = _workflow("five", _effects(EFFECTS), steps=EFFECTS, output=_LAST)
WAITING = _workflow("waiting", [_WAIT, *_effects(EFFECTS)], steps=EFFECTS + 1, output=_LAST)
RESUMED = _workflow("resumed", [_WAIT, *_effects(1)], steps=2)
TEN_PURE = _workflow("ten-pure", _ten_pure(), steps=10)
FANNED_OUT = _workflow("fan-out", [_LOOP], steps=FAN_OUT + 1, output={"count": "{{ steps.each.output.count }}"})
ALL = (FIVE, WAITING, RESUMED, TEN_PURE, FANNED_OUT)


async def _do_nothing(_request: JsonObject, _context: EffectContext) -> JsonObject:
    return dict(ONE_RESULT)


def _bind(node: HttpNode, read: Reader) -> CompiledEffect:
    request = read.template("body", node.body)
    url = node.url
    return CompiledEffect(
        render=lambda scope: http.HttpRequest(url=url, body=request.value(scope)).model_dump(mode="json"),
        run=_do_nothing,
        request=http.HttpRequest,
    )


# Everything about it is as ever, but for what it does.
NO_HTTP = kind(HttpNode, _bind)
