"""What stands between ``{{`` and ``}}``, read by hand, once, in linear time::

    expression = value ( "|" filter | "??" value )*          from left to right
    filter     = name [ "(" [ value ( "," value )* ] ")" ]
    value      = path | text in '…' or "…" | number | true | false | null | [] | {}
    path       = root ( "." name | "[" digits "]" | "[" text "]" )*
    name       = letter or "_", then letters, digits, "_", "-"

There are no operators, no calls but the filters of a closed list, and nothing to escape from. ``a ?? b`` is ``b`` where
``a`` finds nothing or is null.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches

from crewmesh_contracts.base import JsonValue

from crewmesh_workflow.expressions.errors import ExpressionError
from crewmesh_workflow.expressions.filters import FILTERS, Filter
from crewmesh_workflow.expressions.literals import TEXT, Literal, read_number, read_text
from crewmesh_workflow.expressions.scope import ROOTS, Path

OPEN, CLOSE = "{{", "}}"
_MAX_CHARACTERS = 4_000
_MAX_SEGMENTS = 32
_MAX_OPERATIONS = 20

_BLANKS = re.compile(r"[ \t\r\n]*")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}(?![A-Za-z0-9_])")
_SEGMENT = re.compile(rf"\.(?P<name>[A-Za-z_][A-Za-z0-9_-]{{0,99}})|\[(?:(?P<index>[0-9]{{1,6}})|(?P<key>{TEXT}))\]")
_CONSTANTS: dict[str, JsonValue] = {"true": True, "false": False, "null": None}

Value = Path | Literal


@dataclass(frozen=True, slots=True)
class Use:
    """``| filter(arguments)``"""

    filter: Filter
    arguments: tuple[Value, ...]

    def __str__(self) -> str:
        inside = ", ".join(map(str, self.arguments))
        return f"| {self.filter.name}({inside})" if inside else f"| {self.filter.name}"


@dataclass(frozen=True, slots=True)
class Otherwise:
    """``?? value``"""

    value: Value

    def __str__(self) -> str:
        return f"?? {self.value}"


@dataclass(frozen=True, slots=True)
class Read:
    """A path that an expression reads. ``guarded``: nothing there is no error, for the expression goes on."""

    path: Path
    guarded: bool


@dataclass(frozen=True, slots=True)
class Expression:
    """A value and what is done with it. As text it is written in the one way that the grammar prefers."""

    first: Value
    operations: tuple[Use | Otherwise, ...] = ()

    def __str__(self) -> str:
        return " ".join((str(self.first), *map(str, self.operations)))

    def reads(self) -> Iterator[Read]:
        """The paths, in no order that matters."""
        guarded = False
        for operation in reversed(self.operations):
            values = (operation.value,) if isinstance(operation, Otherwise) else operation.arguments
            yield from (Read(value, guarded) for value in values if isinstance(value, Path))
            guarded = guarded or isinstance(operation, Otherwise) or operation.filter.catches
        if isinstance(self.first, Path):
            yield Read(self.first, guarded)


def read_expression(text: str, opened: int) -> tuple[Expression, int]:
    """The expression whose ``{{`` stands at ``opened``, and the position after its ``}}``."""
    reader = _Reader(text, opened)
    return reader.expression(), reader.position


class _Reader:
    """Goes over the text once; every method leaves ``position`` after what it has read."""

    def __init__(self, text: str, opened: int) -> None:
        self._text = text
        self._opened = opened
        self._end = min(len(text), opened + _MAX_CHARACTERS)
        self.position = opened + len(OPEN)

    def expression(self) -> Expression:
        found = Expression(self._value())
        while True:
            self._blanks()
            if self._take(CLOSE):
                return found
            if len(found.operations) == _MAX_OPERATIONS:
                raise self._wrong(f"at most {_MAX_OPERATIONS} filters and ?? may follow each other")
            if self._take("??"):
                operation = Otherwise(self._value())
            elif self._take("|"):
                operation = self._use()
            else:
                raise self._wrong(self._unexpected())
            found = replace(found, operations=(*found.operations, operation))

    def _use(self) -> Use:
        self._blanks()
        start = self.position
        name = self._word("the name of a filter is missing after |")
        filter_ = FILTERS.get(name)
        if filter_ is None:
            raise self._wrong(f"there is no filter {name!r}; {_nearest(name)}", start)
        self._blanks()
        arguments = self._arguments() if self._take("(") else ()
        if not filter_.least <= len(arguments) <= filter_.most:
            raise self._wrong(f"{name} is written {filter_.usage}", start)
        return Use(filter_, arguments)

    def _arguments(self) -> tuple[Value, ...]:
        self._blanks()
        if self._take(")"):
            return ()
        arguments = [self._value()]
        while True:
            self._blanks()
            if self._take(")"):
                return tuple(arguments)
            if not self._take(","):
                raise self._wrong("after an argument comes , or )")
            arguments.append(self._value())

    def _value(self) -> Value:
        self._blanks()
        for begins, read in self._beginnings():
            if self.position < self._end and self._text[self.position] in begins:
                return read()
        start = self.position
        word = self._word("a value is missing: a path such as trigger.data, a 'text', a number, true, false or null")
        if word in _CONSTANTS:
            return Literal(_CONSTANTS[word])
        if word in ROOTS:
            return self._path(start, word)
        raise self._wrong(f"a path starts with one of {', '.join(ROOTS)}; write texts in quotes", start)

    def _beginnings(self) -> tuple[tuple[str, Callable[[], Literal]], ...]:
        return (("'\"", self._literal_text), ("-0123456789", self._number), ("[{", self._empty))

    def _literal_text(self) -> Literal:
        return self._read(read_text)

    def _number(self) -> Literal:
        return self._read(read_number)

    def _read(self, read: Callable[[str, int, int], tuple[Literal, int]]) -> Literal:
        try:
            literal, self.position = read(self._text, self.position, self._end)
        except ExpressionError as error:
            raise self._wrong(str(error)) from None
        return literal

    def _empty(self) -> Literal:
        if self._take("[]"):
            return Literal([])
        if self._take("{}"):
            return Literal({})
        raise self._wrong("of lists and objects only the empty ones, [] and {}, can be written here")

    def _path(self, start: int, root: str) -> Path:
        segments: list[str | int] = []
        while (match := _SEGMENT.match(self._text, self.position, self._end)) is not None:
            segments.append(self._segment(match))
            self.position = match.end()
            if len(segments) > _MAX_SEGMENTS:
                raise self._wrong(f"a path has at most {_MAX_SEGMENTS} parts", start)
        if self.position < self._end and self._text[self.position] in ".[":
            raise self._wrong('in a path comes .name, [number] or ["any key"]')
        path = Path(self._text[start : self.position], root, tuple(segments))
        if root == "steps" and path.step is None:
            raise self._wrong("name the step, as in steps.search.output.text", start)
        return path

    def _segment(self, match: re.Match[str]) -> str | int:
        if match["index"] is not None:
            return int(match["index"])
        if match["name"] is not None:
            return match["name"]
        key = self._at(match.start("key"))
        return str(key.value)

    def _at(self, position: int) -> Literal:
        self.position = position
        return self._literal_text()

    def _word(self, missing: str) -> str:
        match = _WORD.match(self._text, self.position, self._end)
        if match is None:
            raise self._wrong(missing)
        self.position = match.end()
        return match[0]

    def _blanks(self) -> None:
        match = _BLANKS.match(self._text, self.position, self._end)
        self.position = match.end() if match is not None else self.position

    def _take(self, token: str) -> bool:
        if not self._text.startswith(token, self.position, self._end):
            return False
        self.position += len(token)
        return True

    def _unexpected(self) -> str:
        if self.position >= len(self._text):
            return "it is never closed by }}"
        if self.position >= self._end:
            return f"it is longer than {_MAX_CHARACTERS} characters"
        return f"{self._text[self.position]!r} means nothing here; after a value comes | filter, ?? value or }}}}"

    def _wrong(self, why: str, position: int | None = None) -> ExpressionError:
        place = self.position if position is None else position
        if place >= self._end:
            why = self._unexpected()
        shown = self._text[self._opened : self._opened + 60]
        closed = shown.find(CLOSE)
        shown = shown[: closed + 2] if closed >= 0 else shown + ("…" if self._opened + 60 < len(self._text) else "")
        return ExpressionError(f"{shown} at position {place}: {why}")


def _nearest(name: str) -> str:
    near = get_close_matches(name, FILTERS, n=1)
    return f"did you mean {near[0]}?" if near else "filters are " + ", ".join(sorted(FILTERS))
