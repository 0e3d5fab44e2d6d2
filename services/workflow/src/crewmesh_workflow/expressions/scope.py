"""What expressions can see: roots such as the trigger, and the output of each step that completed.

A path is looked up by keys and positions only. Values are plain JSON, and attributes of Python objects are never
touched, so that a name like ``__class__`` is just a key that does not exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from crewmesh_contracts.base import JsonObject, JsonValue

from crewmesh_workflow.expressions.errors import NothingFoundError
from crewmesh_workflow.expressions.values import kind_of

# Not every root exists everywhere: item and last only in loops, error only in what is done when a run fails.
ROOTS = ("trigger", "steps", "vars", "env", "run", "item", "index", "last", "error", "event", "node", "input")


@dataclass(frozen=True, slots=True)
class Path:
    """``trigger.data.items[0]`` as a root and the keys and positions that follow."""

    text: str
    root: str
    segments: tuple[str | int, ...]

    def __str__(self) -> str:
        return self.text

    @property
    def step(self) -> str | None:
        """The step it starts from, if it does."""
        first = self.segments[0] if self.segments else None
        return first if self.root == "steps" and isinstance(first, str) else None


@dataclass(frozen=True, slots=True)
class Scope:
    """One moment of a run: roots but ``steps``, and outputs by step. Skipped and unfinished steps are absent."""

    roots: Mapping[str, JsonValue]
    outputs: Mapping[str, JsonValue]

    def all(self) -> JsonObject:
        """Every root. In ``steps`` every step is an object, so that more than its output can be offered one day."""
        return {**self.roots, "steps": {step: {"output": output} for step, output in self.outputs.items()}}

    def resolve(self, path: Path) -> JsonValue:
        """The value at the path. Nothing there is an error: silence would send wrong data on."""
        if path.root != "steps":
            if path.root not in self.roots:
                raise NothingFoundError(f"{{{{ {path.text} }}}} finds nothing: there is no {path.root} here")
            return _walk(self.roots[path.root], path, path.segments)
        step = path.step
        if step is None or step not in self.outputs:
            raise NothingFoundError(f"{{{{ {path.text} }}}} finds nothing: step {step!r} was skipped or has no output")
        return _walk({"output": self.outputs[step]}, path, path.segments[1:])


def _walk(value: JsonValue, path: Path, segments: tuple[str | int, ...]) -> JsonValue:
    for segment in segments:
        if isinstance(value, dict) and isinstance(segment, str) and segment in value:
            value = value[segment]
            continue
        if isinstance(value, list) and isinstance(segment, int) and segment < len(value):
            value = value[segment]
            continue
        raise NothingFoundError(f"{{{{ {path.text} }}}} finds nothing: {_why(value, segment)}")
    return value


def _why(value: JsonValue, segment: str | int) -> str:
    if isinstance(segment, int):
        has = f"a list of {len(value)}" if isinstance(value, list) else kind_of(value)
        return f"there is no position {segment} in {has}"
    if isinstance(value, dict):
        known = ", ".join(sorted(value)[:10]) or "nothing"
        return f"there is no {segment!r}, only {known}"[:300]
    return f"{segment!r} was looked for in {kind_of(value)}"
