"""A condition as a tree: the library keeps its own to itself, and mistakes can only be told with the place in hand.

Only what the library has compiled already is read, so that little care is taken of what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from crewmesh_workflow.expressions.cel_code import STRINGS_AND_COMMENTS
from crewmesh_workflow.expressions.errors import ExpressionError

MACROS = ("all", "exists", "exists_one", "existsOne", "filter", "map")

# As deep as Python's own stack bears with ease.
_DEEPEST_NESTED = 40
_DEEPEST = 120
_TOKEN = re.compile(
    rf"(?P<text>{STRINGS_AND_COMMENTS.pattern})"
    r"|(?P<number>0x[0-9a-fA-F]+[uU]?|(?:\d*\.\d+|\d+)(?:[eE][+-]?\d+)?[uU]?)"
    r"|(?P<name>[A-Za-z_]\w*)|(?P<sign>&&|\|\||[=!<>]=|[-+*/%<>!?:()\[\]{},.])"
)
_STRENGTH = {"?": 1, "||": 2, "&&": 3, **dict.fromkeys(("==", "!=", "<", "<=", ">", ">=", "in"), 4)}
_STRENGTH.update({"+": 5, "-": 5, "*": 6, "/": 6, "%": 6})
_WORDS = {"true": "bool", "false": "bool", "null": "null"}

Form: TypeAlias = Literal[
    "literal", "name", "select", "index", "call", "method", "list", "map", "operator", "choice", "has", "each"
]


@dataclass(frozen=True, slots=True)
class Node:
    """``name`` is the kind of a literal, what a name, member or function is called, or the operator.

    ``text`` is how it is written, from ``start`` on. In ``each`` the parts are the list, and what is asked of every
    ``bound`` of it.
    """

    form: Form
    name: str
    parts: tuple[Node, ...]
    text: str
    start: int
    bound: str = ""
    depth: int = 0


def tree_of(source: str) -> Node | None:
    """Nothing where it is written in a way that is not known here. Raises TooDeepError."""
    try:
        reader = _Reader(source)
        node = reader.expression(0)
    except _UnknownError:
        return None
    return node if reader.at_end() else None


class TooDeepError(ExpressionError):
    """It is nested too deeply, or too much of it stands in a row, to be looked at."""


class _UnknownError(Exception):
    """This cannot be read here."""


def _tokens(source: str) -> Iterator[tuple[str, str, int]]:
    for match in _TOKEN.finditer(source):
        if not match[0].startswith("//"):
            yield str(match.lastgroup), match[0], match.start()


class _Reader:
    def __init__(self, source: str) -> None:
        self._source = source
        self._tokens = [*_tokens(source), ("end", "", len(source))]
        self._next = 0
        self._depth = 0

    def at_end(self) -> bool:
        return self._tokens[self._next][0] == "end"

    def expression(self, strength: int = 0) -> Node:
        self._depth += 1
        if self._depth > _DEEPEST_NESTED:
            raise TooDeepError(
                f"it is nested more than {_DEEPEST_NESTED} deep, too deep to be checked; prepare parts of it in steps"
                " before"
            )
        start = self._start()
        left = self._unary()
        while (own := _STRENGTH.get(self._sign(), 0)) > strength:
            sign = self._take()
            if sign == "?":
                yes = self.expression(1)
                self._expect(":")
                left = self._node("choice", sign, (left, yes, self.expression(0)), start)
            else:
                left = self._node("operator", sign, (left, self.expression(own)), start)
        self._depth -= 1
        return left

    def _unary(self) -> Node:
        start = self._start()
        signs: list[str] = []
        while self._sign() in ("!", "-"):
            signs.append(self._take())
        node = self._members()
        for sign in reversed(signs):
            if sign == "-" and node.form == "literal" and node.name in ("int", "double") and len(signs) == 1:
                return self._node("literal", node.name, (), start)
            node = self._node("operator", sign, (node,), start)
        return node

    def _members(self) -> Node:
        start = self._start()
        node = self._primary()
        while (sign := self._sign()) in (".", "[") or (sign == "{" and node.form in ("name", "select")):
            self._next += 1
            if sign == "{":
                node = self._node("call", f"{node.text}{{}}", self._listed("}"), start)
                continue
            if sign == "[":
                node = self._node("index", "", (node, self.expression()), start, "]")
                continue
            name = self._take()
            if self._sign() != "(":
                node = self._node("select", name, (node,), start)
            elif name in MACROS:
                node = self._each(name, node, start)
            else:
                node = self._node("method", name, (node, *self._arguments()), start)
        return node

    def _each(self, name: str, over: Node, start: int) -> Node:
        bound, *asked = self._arguments()
        if bound.form != "name":
            raise _UnknownError
        return replace(self._node("each", name, (over, *asked), start), bound=bound.name)

    def _primary(self) -> Node:
        start = self._start()
        if self._sign() == ".":
            self._next += 1
        kind, written, _ = self._tokens[self._next]
        self._next += 1
        if kind == "text":
            prefix = written[: written.index(written[-1])]
            return self._node("literal", "bytes" if "b" in prefix.lower() else "string", (), start)
        if kind == "number":
            return self._node("literal", _kind_of_number(written), (), start)
        if kind == "name":
            return self._named(written, start)
        if written == "(":
            node = self.expression()
            self._expect(")")
            return node
        if written == "[":
            return self._node("list", "", self._listed("]"), start)
        if written == "{":
            return self._node("map", "", self._listed("}"), start)
        raise _UnknownError

    def _named(self, name: str, start: int) -> Node:
        if name in _WORDS:
            return self._node("literal", _WORDS[name], (), start)
        if self._sign() != "(":
            return self._node("name", name, (), start)
        return self._node("has" if name == "has" else "call", name, self._arguments(), start)

    def _arguments(self) -> tuple[Node, ...]:
        self._expect("(")
        return self._listed(")")

    def _listed(self, end: str) -> tuple[Node, ...]:
        """Keys and values of a map stand one after the other."""
        found: list[Node] = []
        while self._sign() != end:
            found.append(self.expression())
            if self._sign() in (",", ":"):
                self._next += 1
            elif self._sign() != end:
                raise _UnknownError
        self._next += 1
        return tuple(found)

    def _node(self, form: Form, name: str, parts: tuple[Node, ...], start: int, end: str = "") -> Node:
        if end:
            self._expect(end)
        depth = 1 + max((part.depth for part in parts), default=0)
        if depth > _DEEPEST:
            raise TooDeepError(
                f"more than {_DEEPEST} parts of it are put together, too many to be checked; make it shorter, as with"
                ' name in ["a", "b"] in place of name == "a" || name == "b"'
            )
        _, last, at = self._tokens[self._next - 1]
        return Node(form, name, parts, self._source[start : at + len(last)], start, depth=depth)

    def _start(self) -> int:
        return self._tokens[self._next][2]

    def _sign(self) -> str:
        kind, written, _ = self._tokens[self._next]
        return written if kind == "sign" or written == "in" else ""

    def _take(self) -> str:
        _, written, _ = self._tokens[self._next]
        self._next += 1
        return written

    def _expect(self, sign: str) -> None:
        if self._sign() != sign:
            raise _UnknownError
        self._next += 1


def _kind_of_number(written: str) -> str:
    if written[-1] in "uU":
        return "uint"
    return "double" if re.search(r"[.eE]", written) and not written.startswith("0x") else "int"
