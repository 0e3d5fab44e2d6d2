"""What an expression can read where it stands, and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from crewmesh_workflow.expressions.grammar import Read
from crewmesh_workflow.expressions.scope import Path
from crewmesh_workflow.program.shapes import ANYTHING, NUMBER, TEXT, Shape, object_of, scalar

RUN = object_of(dict.fromkeys(("id", "workflow", "name", "version", "started_at", "test"), ANYTHING))
_BY_NAME = {
    "index": scalar(NUMBER),
    "error": object_of(
        {name: scalar(TEXT) for name in ("type", "detail")} | {"node": ANYTHING, "not_undone": ANYTHING}
    ),
}
_WHERE = {
    "item": "it is there in the body of a for_each",
    "index": "it is there in the body of a for_each or while",
    "last": "it is there in the body and the condition of a while",
    "error": "it is there in on_failure; after a step's port error read steps.<id>.output.error",
    "event": "it is there in the filters of events",
    "node": "it is there in the approval rules of the settings",
    "input": "it is there in the approval rules of the settings",
}

_ADDED = {"env": "add it to env", "vars": "let a set node set it"}


@dataclass(frozen=True, slots=True)
class Sight:
    """``steps``: the outputs of those that come before. ``beside``: other steps, and why they cannot be read.

    ``more``: there may be other steps than these.
    """

    roots: Mapping[str, Shape]
    steps: Mapping[str, Shape] = field(default_factory=dict[str, Shape])
    beside: Mapping[str, str] = field(default_factory=dict[str, str])
    more: bool = False

    def reading(self, *roots: str, **known: Shape) -> Sight:
        more = {root: _BY_NAME.get(root, ANYTHING) for root in roots}
        return replace(self, roots={**self.roots, **more, **known})

    def only(self, *roots: str) -> Sight:
        return Sight({root: self.roots.get(root, ANYTHING) for root in roots})

    def wrong(self, read: Read) -> str | None:
        """Why this can never be read here."""
        path = read.path
        if path.root == "steps" and "steps" in self.roots:
            step = path.step
            return None if step is None else self._wrong_step(step) or self._wrong_output(step, path)
        if path.root not in self.roots:
            where = _WHERE.get(path.root, f"what can be read is {', '.join(sorted(self.roots))}")
            return f"there is no {path.root} here; {where}"
        if path.root in _ADDED:
            return self._wrong_name(read)
        return self._walk(path.root, self.roots[path.root], path.segments)[1]

    def shape(self, path: Path) -> Shape:
        """What is known of the value at a path that is not wrong."""
        if path.root != "steps":
            return self._walk(path.root, self.roots.get(path.root, ANYTHING), path.segments)[0]
        known = self.steps.get(path.step or "", ANYTHING)
        return self._walk("", known, path.segments[2:])[0] if path.segments[1:2] == ("output",) else ANYTHING

    def _wrong_name(self, read: Read) -> str | None:
        """Names of constants and variables, which an author may add."""
        root, name = read.path.root, next(iter(read.path.segments), None)
        known = self.roots[root].members
        if name is None or known is None or name in known or (root == "vars" and read.guarded):
            return None
        return f"there is no {root}.{name}; {_ADDED[root]}" + (f", or use {', '.join([*known][:10])}" if known else "")

    def _wrong_step(self, step: str) -> str | None:
        if step in self.steps:
            return None
        why = self.beside.get(step)
        if why is not None or self.more:
            return why
        known = ", ".join(list(self.steps)[:10])
        return f"there is no step {step!r}" + (f"; before this one come {known}" if known else "")

    def _wrong_output(self, step: str, path: Path) -> str | None:
        if path.segments[1:2] not in ((), ("output",)):
            return f"of a step only its output can be read: steps.{step}.output.…"
        return self._walk(step, self.steps.get(step, ANYTHING), path.segments[2:])[1]

    @staticmethod
    def _walk(name: str, shape: Shape, segments: tuple[str | int, ...]) -> tuple[Shape, str | None]:
        for segment in segments:
            missing = shape.missing(segment)
            if missing is not None:
                return ANYTHING, f"{name} {missing}"
            shape = shape.inside(segment)
            name = f"{name}[{segment}]" if isinstance(segment, int) else f"{name}.{segment}"
        return shape, None


def not_before(step: str) -> str:
    return f"step {step!r} does not come before this one; connect them by an edge, or read it further on"
