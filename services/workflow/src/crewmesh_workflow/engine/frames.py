"""A graph being worked on: the run itself, one round of a loop, or the failure handler."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field

from crewmesh_contracts.base import JsonValue

from crewmesh_workflow.expressions import Scope
from crewmesh_workflow.program.model import CompiledGraph, CompiledNode


@dataclass(slots=True, eq=False)
class Frame:
    """``prefix`` stands before the ids of its nodes in paths. ``holder`` is the path of the loop it is a round of."""

    prefix: str
    graph: CompiledGraph
    roots: Mapping[str, JsonValue]
    parent: Frame | None = None
    holder: str | None = None
    index: int = 0
    outputs: dict[str, JsonValue] = field(default_factory=dict[str, JsonValue])
    visible: MutableMapping[str, JsonValue] = field(init=False)
    undecided: dict[str, int] = field(init=False)
    taken: dict[str, list[str]] = field(init=False)
    reached: set[str] = field(default_factory=set[str])
    decided: set[str] = field(default_factory=set[str])
    # Nodes that joins were reached without; nothing follows from what still comes of them.
    left_behind: set[str] = field(default_factory=set[str])
    closed: bool = False
    # Nothing new begins in it; what is under way may end.
    halted: bool = False

    def __post_init__(self) -> None:
        above = () if self.parent is None else _maps(self.parent.visible)
        self.visible = ChainMap(self.outputs, *above) if above else self.outputs
        self.undecided = {node.id: len(node.incoming) for node in self.graph.nodes}
        self.taken = {node.id: [] for node in self.graph.nodes}

    @property
    def halts(self) -> bool:
        above = self.parent
        return self.halted or (above is not None and (above.halts or above.leaves(self.holder)))

    def leaves(self, path: str | None) -> bool:
        """Whether what stands there was left behind."""
        return path is not None and path.removeprefix(self.prefix) in self.left_behind

    @property
    def done(self) -> bool:
        return len(self.decided) == len(self.graph.nodes)

    def path(self, node: CompiledNode) -> str:
        return self.prefix + node.id

    def scope(self, **more: JsonValue) -> Scope:
        return Scope({**self.roots, **more} if more else self.roots, self.visible)


def _maps(visible: MutableMapping[str, JsonValue]) -> tuple[MutableMapping[str, JsonValue], ...]:
    return tuple(visible.maps) if isinstance(visible, ChainMap) else (visible,)
