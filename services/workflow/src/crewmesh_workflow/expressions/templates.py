"""Templates: text in which ``{{ path }}`` is replaced by a value, and nothing else.

The grammar is closed and read by hand, once, in linear time::

    text = ( characters | "{{" path "}}" )*
    path = root ( "." name | "[" digits "]" )*
    name = letter or "_", then letters, digits, "_", "-"

There are no operators, calls or filters, so there is nothing to escape from. Anything else between the braces is an
error when the definition is saved. A template that is one whole ``{{ path }}`` keeps the type of its value; inside
other text a value that is not text becomes JSON.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from crewmesh_contracts.base import JsonValue
from pydantic_core import to_json

from crewmesh_workflow.expressions.errors import ExpressionError
from crewmesh_workflow.expressions.scope import ROOTS, Path, Scope

# A rendered request may hold this much JSON. Many small templates can each name one large value.
MAX_RENDERED_BYTES = 4 * 1024 * 1024
_MAX_SEGMENTS = 32

_SEGMENT = re.compile(r"\.(?P<name>[A-Za-z_][A-Za-z0-9_-]{0,99})|\[(?P<index>[0-9]{1,6})\]")


class _Budget:
    """What one rendering may still produce."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_RENDERED_BYTES

    def spend(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise ExpressionError(f"the rendered value is larger than {MAX_RENDERED_BYTES // 1024 // 1024} MiB")


@dataclass(frozen=True, slots=True)
class _Literal:
    value: JsonValue

    def paths(self) -> Iterator[Path]:
        return iter(())

    def render(self, scope: Scope, budget: _Budget) -> JsonValue:
        return self.value


@dataclass(frozen=True, slots=True)
class _Reference:
    path: Path

    def paths(self) -> Iterator[Path]:
        yield self.path

    def render(self, scope: Scope, budget: _Budget) -> JsonValue:
        value = scope.resolve(self.path)
        budget.spend(_size(value))
        return value


@dataclass(frozen=True, slots=True)
class _Mixed:
    parts: tuple[str | Path, ...]

    def paths(self) -> Iterator[Path]:
        return (part for part in self.parts if isinstance(part, Path))

    def render(self, scope: Scope, budget: _Budget) -> JsonValue:
        texts: list[str] = []
        for part in self.parts:
            text = part if isinstance(part, str) else as_text(scope.resolve(part))
            budget.spend(len(text))
            texts.append(text)
        return "".join(texts)


@dataclass(frozen=True, slots=True)
class _List:
    items: tuple[_Compiled, ...]

    def paths(self) -> Iterator[Path]:
        return (path for item in self.items for path in item.paths())

    def render(self, scope: Scope, budget: _Budget) -> JsonValue:
        return [item.render(scope, budget) for item in self.items]


@dataclass(frozen=True, slots=True)
class _Object:
    members: tuple[tuple[str, _Compiled], ...]

    def paths(self) -> Iterator[Path]:
        return (path for _, member in self.members for path in member.paths())

    def render(self, scope: Scope, budget: _Budget) -> JsonValue:
        return {name: member.render(scope, budget) for name, member in self.members}


_Compiled = _Literal | _Reference | _Mixed | _List | _Object


@dataclass(frozen=True, slots=True)
class Template:
    """Any JSON value in which templates may stand, ready to be rendered."""

    compiled: _Compiled

    def paths(self) -> Iterator[Path]:
        return self.compiled.paths()

    def value(self, scope: Scope) -> JsonValue:
        return self.compiled.render(scope, _Budget())

    def text(self, scope: Scope) -> str:
        """The value as text, for fields that are nothing but text."""
        return as_text(self.value(scope))


def as_text(value: JsonValue) -> str:
    return value if isinstance(value, str) else to_json(value).decode()


def _size(value: JsonValue) -> int:
    if isinstance(value, str):
        return len(value)
    return len(to_json(value)) if isinstance(value, (dict, list)) else 8


def compile_template(value: JsonValue) -> Template:
    """Read the value; raises ExpressionError at the first thing that is not our grammar."""
    return Template(_compile(value))


def _compile(value: JsonValue) -> _Compiled:
    if isinstance(value, str):
        return _compile_text(value)
    if isinstance(value, list):
        items = tuple(_compile(item) for item in value)
        return _List(items) if _dynamic(items) else _Literal(value)
    if isinstance(value, dict):
        members = tuple((name, _compile(member)) for name, member in value.items())
        return _Object(members) if _dynamic(tuple(member for _, member in members)) else _Literal(value)
    return _Literal(value)


def _dynamic(parts: tuple[_Compiled, ...]) -> bool:
    return not all(isinstance(part, _Literal) for part in parts)


def _compile_text(text: str) -> _Compiled:
    parts = tuple(_parts(text))
    if all(isinstance(part, str) for part in parts):
        return _Literal(text)
    if len(parts) == 1 and isinstance(parts[0], Path):
        return _Reference(parts[0])
    return _Mixed(parts)


def _parts(text: str) -> Iterator[str | Path]:
    position = 0
    while (opened := text.find("{{", position)) >= 0:
        if opened > position:
            yield text[position:opened]
        closed = text.find("}}", opened + 2)
        if closed < 0:
            raise ExpressionError(f"'{{{{' at position {opened} is never closed by '}}}}'")
        yield parse_path(text[opened + 2 : closed])
        position = closed + 2
    if position < len(text):
        yield text[position:]


def parse_path(inside: str) -> Path:
    """What stands between the braces, as a path."""
    text = inside.strip(" \t\r\n")
    root = next((root for root in ROOTS if text == root or text.startswith((root + ".", root + "["))), None)
    if root is None:
        raise _not_a_path(text, "a path starts with one of " + ", ".join(ROOTS))
    segments: list[str | int] = []
    position = len(root)
    while position < len(text):
        match = _SEGMENT.match(text, position)
        if match is None:
            raise _not_a_path(text, f"position {position} is neither .name nor [number]")
        name = match["name"]
        segments.append(name if name is not None else int(match["index"]))
        position = match.end()
    if len(segments) > _MAX_SEGMENTS:
        raise _not_a_path(text, f"a path has at most {_MAX_SEGMENTS} parts")
    path = Path(text, root, tuple(segments))
    if root == "steps" and path.step is None:
        raise _not_a_path(text, "name the step, as in steps.search.output.text")
    return path


def _not_a_path(text: str, why: str) -> ExpressionError:
    shown = text if len(text) <= 60 else text[:60] + "…"
    return ExpressionError(f"{{{{ {shown} }}}} is not a path: {why}")
