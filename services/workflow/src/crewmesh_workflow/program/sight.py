"""What an expression can read where it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from crewmesh_contracts.workflow.nodes.base import NodeBase

BASE_ROOTS = frozenset({"trigger", "steps", "vars", "env", "run"})


@dataclass(frozen=True, slots=True)
class Sight:
    """``steps`` come before; ``beside`` are there too, but not before."""

    roots: frozenset[str] = BASE_ROOTS
    steps: Mapping[str, NodeBase] = field(default_factory=dict[str, NodeBase])
    beside: frozenset[str] = frozenset()

    def reading(self, *roots: str) -> Sight:
        return replace(self, roots=self.roots.union(roots))

    def wrong_root(self, root: str) -> str | None:
        """Why this root cannot be read here."""
        if root in self.roots:
            return None
        return f"there is no {root} here; {_WHERE.get(root, 'what can be read is ' + ', '.join(sorted(self.roots)))}"

    def wrong_step(self, step: str) -> str | None:
        """Why this step cannot be read here."""
        if step in self.steps:
            return None
        if step in self.beside:
            return f"step {step!r} does not come before this one; connect them by an edge"
        return f"there is no step {step!r} here"


_WHERE = {
    "item": "it can be read in the body of a for_each",
    "index": "it can be read in the body of a for_each or while",
    "last": "it can be read in the body and the condition of a while",
    "error": "it can be read in on_failure",
    "event": "it can be read in filters of events",
    "node": "it can be read in the approval rules of the settings",
    "input": "it can be read in the approval rules of the settings",
}
