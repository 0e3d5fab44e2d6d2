"""Which runs may go on with another version of their workflow: a rule that is safe, and simple enough to be told.

A run may move when, for every step that its journal holds, the other version has a node in the same place, of the same
kind, reached by the same edges, with the port by which the step was left; and what is begun and not finished is the
same in every field. Then everything that was decided would be decided the same way, and only what is still to come
differs.
A loop whose first rounds are over gets no more steps: those rounds would begin again, and what is under way behind them
would be out of reach until they are over once more. Runs that undo what they did stay where they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

from crewmesh_contracts.workflow import Definition, Graph
from crewmesh_contracts.workflow.nodes.base import NodeBase
from crewmesh_contracts.workflow.nodes.for_each import ForEachNode

from crewmesh_workflow.definitions.normal import graphs_in

FAILING = "the run fails and undoes what it did, which it ends with the version that it has"
_ROUND = re.compile(r"\[(\d+)\]")
_MOST_REASONS = 20


@dataclass(frozen=True, slots=True)
class JournalledStep:
    """``port``: those by which it was left, joined by commas; none while it is not decided."""

    path: str
    port: str | None
    finished: bool


@dataclass(frozen=True, slots=True)
class _Place:
    """A node where it stands: what it is, and the edges that lead to it."""

    node: NodeBase
    edges: frozenset[tuple[str, str]]

    @property
    def kind(self) -> str:
        return str(self.node.model_dump(include={"kind"})["kind"])

    def does_the_same(self, other: _Place) -> bool:
        """But for its name, and for the steps inside, which are looked at one by one."""
        one, another = self.node.model_dump(exclude={"name"}), other.node.model_dump(exclude={"name"})
        for field in graphs_in(type(self.node)):
            one[field], another[field] = one[field]["output"], another[field]["output"]
        return one == another

    def lacks_steps_of(self, other: _Place) -> bool:
        """Whether the other loop has steps in its rounds that this one does not have."""
        return not _ids_inside(other.node) <= _ids_inside(self.node)

    @property
    def first_rounds(self) -> int:
        """So many rounds of the loop begin without waiting for another one."""
        return self.node.concurrency if isinstance(self.node, ForEachNode) else 1


class Layout:
    """The places of a version by the path of their steps, without the numbers of rounds: ``loop.send``."""

    def __init__(self, definition: Definition) -> None:
        self._definition = definition

    @cached_property
    def places(self) -> dict[str, _Place]:
        return dict(_places("", self._definition))


def _places(prefix: str, graph: Graph) -> Iterator[tuple[str, _Place]]:
    edges: dict[str, set[tuple[str, str]]] = {}
    for edge in graph.edges:
        edges.setdefault(edge.to, set()).add((edge.from_, edge.port))
    for node in graph.nodes:
        yield f"{prefix}{node.id}", _Place(node, frozenset(edges.get(node.id, ())))
        for field in graphs_in(type(node)):
            yield from _places(f"{prefix}{node.id}.", cast(Graph, getattr(node, field)))


def _ids_inside(node: NodeBase) -> frozenset[str]:
    graphs = (cast(Graph, getattr(node, field)) for field in graphs_in(type(node)))
    return frozenset(inner.id for graph in graphs for inner in graph.nodes)


def why_not(old: Layout, new: Layout, steps: Sequence[JournalledStep]) -> tuple[str, ...]:
    """What keeps a run with these steps on its version; nothing when it may move."""
    if any("!" in step.path for step in steps):
        return (FAILING,)
    reasons: dict[str, None] = {}
    rounds = _rounds_begun(steps)
    for step in steps:
        path = _ROUND.sub("", step.path)
        begun = rounds.get(step.path, 0)
        reason = _difference(path, old.places.get(path), new.places.get(path), step, begun)
        if reason is not None:
            reasons[reason] = None
    return tuple(reasons)[:_MOST_REASONS]


def _rounds_begun(steps: Sequence[JournalledStep]) -> dict[str, int]:
    """By the paths of loops: how many of their rounds have begun."""
    rounds: dict[str, int] = {}
    for step in steps:
        for round_ in _ROUND.finditer(step.path):
            loop = step.path[: round_.start()]
            rounds[loop] = max(rounds.get(loop, 0), int(round_[1]) + 1)
    return rounds


def _difference(path: str, old: _Place | None, new: _Place | None, step: JournalledStep, rounds: int) -> str | None:
    if old is None or new is None:
        return f"step {path} is not there any more"
    if old.kind != new.kind:
        return f"step {path} was of kind {old.kind} and is of kind {new.kind}"
    if old.edges != new.edges:
        return f"step {path} is reached by other edges"
    if not step.finished and not old.does_the_same(new):
        return f"step {path} is under way and has been changed"
    if not step.finished and rounds > old.first_rounds and old.lacks_steps_of(new):
        return f"step {path} has rounds that are over, and there are new steps in it"
    lost = [port for port in (step.port or "").split(",") if port and port not in new.node.ports]
    return f"step {path} was left by port {lost[0]}, which is not there any more" if lost else None
