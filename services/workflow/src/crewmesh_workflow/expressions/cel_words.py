"""What is wrong in a condition, in sentences that name the part and what to write instead."""

from __future__ import annotations

from crewmesh_workflow.expressions.cel_tree import Node
from crewmesh_workflow.expressions.signatures import FUNCTIONS

_KINDS = {
    "bool": "true or false",
    "bytes": "bytes",
    "double": "a number with a fraction (double)",
    "duration": "a duration",
    "int": "a whole number (int)",
    "list": "a list",
    "map": "an object",
    "null": "null",
    "string": "a text",
    "timestamp": "a timestamp",
    "type": "a type",
    "uint": "an unsigned number (uint)",
}
_NUMBERS = ("int", "uint", "double")
# How the parts of a call are written where any will do.
_STAND_INS = {"string": "text", "map": "object", "any": "value", "int": "whole number", "double": "number"}


def worded(kind: str | None) -> str:
    return "something" if kind is None else _KINDS.get(kind, kind)


def compared(node: Node, kinds: tuple[str | None, ...]) -> str:
    """An operator between values that do not go together."""
    sign = node.name
    if len(kinds) == 1:
        return f"{sign} is not possible with {short(node.parts[0])}, which is {worded(kinds[0])}"
    (left, right), (one, other) = node.parts, kinds
    if sign in ("&&", "||"):
        part, kind = (left, one) if one not in (None, "bool") else (right, other)
        return f"{sign} asks for true or false, but {short(part)} is {worded(kind)}"
    if sign == "in":
        contains = f"; write {short(right)}.contains({short(left)})" if kinds == ("string", "string") else ""
        return f"in looks into a list or an object, but {short(right)} is {worded(other)}{contains}"
    if "null" in kinds and "null" not in (left.text, right.text):
        gone = left if one == "null" else right
        return f"{short(gone)} is null, with which {sign} is not possible; ask {short(gone)} != null before"
    are = f"{short(left)} is {worded(one)} and {short(right)} is {worded(other)}"
    if sign == "%":
        return f"% is for whole numbers, but {are}; write int(…) around what has a fraction"
    if one in _NUMBERS and other in _NUMBERS:
        target = "double" if "double" in kinds else "int"
        first, second = (
            short(part) if kind == target else f"{target}({short(part)})"
            for part, kind in zip(node.parts, kinds, strict=True)
        )
        return f"{are}, and CEL calculates with numbers of one kind; write {first} {sign} {second}"
    return f"{sign} is not possible here: {are}{_converted(node, kinds)}"


def _converted(node: Node, kinds: tuple[str | None, ...]) -> str:
    """A way out where a text meets a number."""
    if "string" not in kinds or not set(kinds) & {*_NUMBERS}:
        return ""
    text, number = node.parts if kinds[0] == "string" else node.parts[::-1]
    return f"; write string({short(number)})" if node.name == "+" else f"; write double({short(text)})"


def called(node: Node, kinds: tuple[str | None, ...]) -> str:
    """A function that is given what it does not take."""
    usages = dict.fromkeys(_usage(node.name, each.method, each.takes) for each in FUNCTIONS.get(node.name, ()))
    if node.name.endswith("}"):
        return f"{short(node)} makes an object of a named type, which is not possible; see timestamp and duration"
    if not usages:
        return f"CEL has no function {node.name}"
    given = _usage(node.name, node.form == "method", tuple(kind or "any" for kind in kinds))
    return f"{short(node)} is not possible: this is {given}, but there are {', '.join(usages)}"


def _usage(name: str, method: bool, takes: tuple[str, ...]) -> str:
    words = [_STAND_INS.get(kind, kind) for kind in takes]
    return f"{words[0]}.{name}({', '.join(words[1:])})" if method else f"{name}({', '.join(words)})"


def chosen(node: Node, asked: Node, kind: str) -> str:
    return f"what {node.name} asks must be true or false, but {short(asked)} is {worded(kind)}"


def of_nothing(node: Node, kind: str | None) -> str:
    """A member, a position or a walk where there is none."""
    held = short(node.parts[0])
    if kind == "null":
        return f"{held} is null; ask {held} != null before"
    if node.form == "each":
        return f"{node.name} goes over a list, but {held} is {worded(kind)}"
    if node.form == "select":
        more = f"; take one of its items first, as in {held}[0]" if kind == "list" else ""
        return f"{held} is {worded(kind)} and has no field {node.name}{more}"
    if kind == "list":
        return f"{held} is a list, whose items have positions, as in {held}[0]; {short(node.parts[1])} is none"
    return f"{held} is {worded(kind)}, of which no part can be taken with [ ]"


def short(node: Node) -> str:
    text = " ".join(node.text.split())
    return text if len(text) <= 80 else f"{text[:80]}…"
