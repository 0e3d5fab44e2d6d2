"""What the mesh is busy with while something breaks: runs of every shape, whose effects can be seen from outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from crewmesh_testkit.mesh import JsonDict, MeshClient
from crewmesh_testkit.polling import until

ITEMS = 20
DELAY_SECONDS = 3
_ACKNOWLEDGED_WITHIN = 240.0


@dataclass(frozen=True, slots=True)
class Shape:
    """A workflow, and the paths of the effects of one run."""

    name: str
    graph: JsonDict
    effects: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Started:
    """A start that was acknowledged."""

    run: str
    shape: Shape


def deliver(id_: str, url: str, **more: object) -> JsonDict:
    return {"id": id_, "kind": "http", "url": url, "body": {"subject": "{{ trigger.data.subject }}"}, **more}


def chain(*ids: str) -> list[JsonDict]:
    return [{"from": before, "to": after} for before, after in pairwise(ids)]


def shapes(url: str, child: str) -> tuple[Shape, ...]:
    """``child`` is the slug of the workflow of ``child_graph``."""
    return (
        _five(url),
        _each(url),
        _delayed(url),
        _approved(url),
        _with_child(url, child),
        _web(url),
        _unsafe(url),
    )


def _five(url: str) -> Shape:
    ids = tuple(f"deliver-{number}" for number in range(5))
    return Shape("five", {"nodes": [deliver(id_, url) for id_ in ids], "edges": chain(*ids)}, ids)


def _each(url: str) -> Shape:
    body = {"nodes": [deliver("deliver", url)], "output": {"index": "{{ index }}"}}
    loop = {"id": "each", "kind": "for_each", "items": [*range(ITEMS)], "concurrency": 5, "body": body}
    graph = {"nodes": [loop], "output": {"items": "{{ steps.each.output.items }}"}}
    return Shape("each", graph, tuple(f"each[{index}].deliver" for index in range(ITEMS)))


def _delayed(url: str) -> Shape:
    wait = {"id": "wait", "kind": "delay", "seconds": DELAY_SECONDS}
    nodes = [deliver("before", url), wait, deliver("after", url)]
    return Shape("delayed", {"nodes": nodes, "edges": chain("before", "wait", "after")}, ("before", "after"))


def _approved(url: str) -> Shape:
    ask = {"id": "ask", "kind": "approval", "title": "Go on?"}
    edges = [*chain("before", "ask"), {"from": "ask", "port": "approved", "to": "after"}]
    nodes = [deliver("before", url), ask, deliver("after", url)]
    return Shape("approved", {"nodes": nodes, "edges": edges}, ("before", "after"))


def _with_child(url: str, child: str) -> Shape:
    start = {"id": "child", "kind": "workflow", "workflow": child, "inputs": {"subject": "{{ trigger.data.subject }}"}}
    graph = {
        "nodes": [deliver("before", url), start, deliver("after", url)],
        "edges": chain("before", "child", "after"),
        "output": {"child": "{{ steps.child.output.run }}"},
    }
    return Shape("child", graph, ("before", "after"))


CHILD_EFFECTS = ("first", "second")


def child_graph(url: str) -> JsonDict:
    return {"nodes": [deliver(id_, url) for id_ in CHILD_EFFECTS], "edges": chain(*CHILD_EFFECTS)}


def _web(url: str) -> Shape:
    ways = ("left", "middle", "right")
    apart = {"id": "apart", "kind": "parallel", "branches": [*ways]}
    edges: list[JsonDict] = []
    for way in ways:
        edges += [{"from": "apart", "port": way, "to": f"go-{way}"}, {"from": f"go-{way}", "to": "together"}]
    nodes = [apart, *(deliver(f"go-{way}", url) for way in ways), {"id": "together", "kind": "join"}]
    nodes.append(deliver("last", url))
    return Shape(
        "web", {"nodes": nodes, "edges": [*edges, *chain("together", "last")]}, (*(f"go-{way}" for way in ways), "last")
    )


def _unsafe(url: str) -> Shape:
    """An effect that must never happen twice: when nobody knows whether it did, a person looks and says."""
    nodes = [deliver("once", url, effect="unsafe"), deliver("after", url)]
    return Shape("unsafe", {"nodes": nodes, "edges": chain("once", "after")}, ("once", "after"))


class Workload:
    """Installs the workflows and starts runs, as a careful producer does: the same event until it is acknowledged."""

    def __init__(self, client: MeshClient, *, url: str, tag: str) -> None:
        self._client = client
        self._tag = tag
        self._url = url
        self._child = f"child-{tag}"
        self.shapes = shapes(url, self._child)

    async def install(self) -> None:
        # The child first: a workflow is named by its slug.
        await self._save({"name": f"Child {self._tag}", "slug": self._child, **child_graph(self._url)})
        for shape in self.shapes:
            trigger = {"kind": "event", "type": self._event_type(shape)}
            await self._save({"name": f"{shape.name} {self._tag}", "triggers": [trigger], **shape.graph})

    async def start(self, number: int) -> Started:
        shape = self.shapes[number % len(self.shapes)]
        event = {
            "specversion": "1.0",
            "id": f"{self._tag}-{number}",
            "source": "/faults",
            "type": self._event_type(shape),
            "data": {"subject": number},
        }

        async def acknowledged() -> str | None:
            answer = await self._client.try_post("/v1/events", event)
            if answer is None or answer.status >= 500 or answer.status == 429:
                return None
            assert answer.status == 202, answer.body
            (run,) = answer.body["runs"]
            return str(run)

        what = f"event {number} acknowledged"
        return Started(await until(acknowledged, seconds=_ACKNOWLEDGED_WITHIN, every=0.2, what=what), shape)

    async def _save(self, definition: Mapping[str, object]) -> None:
        answer = await self._client.post("/v1/workflows", definition)
        assert answer.status == 201, answer.body

    def _event_type(self, shape: Shape) -> str:
        return f"test.fault.{self._tag}.{shape.name}"
