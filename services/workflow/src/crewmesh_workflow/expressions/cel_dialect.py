"""What the standard can say in two ways, said in the one that the library knows.

``matches(text, pattern)`` becomes ``(text).matches(pattern)``, and to a timestamp a duration is added, not the reverse.
"""

from __future__ import annotations

from crewmesh_workflow.expressions.cel_tree import Node, TooDeepError, tree_of
from crewmesh_workflow.expressions.cel_types import look
from crewmesh_workflow.expressions.errors import ExpressionError


def as_the_library_has_it(source: str) -> str:
    """Of what the library has compiled, though it cannot run it."""
    if "matches" not in source and not ("+" in source and "timestamp" in source):
        return source
    try:
        tree = tree_of(source)
    except TooDeepError:
        return source
    # What stands before and after is blank, or a comment.
    return source if tree is None else _written(tree)


def _written(node: Node) -> str:
    parts = [_written(part) for part in node.parts]
    if node.form == "call" and node.name == "matches" and len(parts) == 2:
        return f"({parts[0]}).matches({parts[1]})"
    if node.form == "operator" and node.name == "+" and _adds_a_timestamp(node):
        return f"({parts[1]}) + ({parts[0]})"
    text = node.text
    # From the last on, so that the places of the others still hold.
    for part, written in reversed([*zip(node.parts, parts, strict=True)]):
        at = part.start - node.start
        text = text[:at] + written + text[at + len(part.text) :]
    return text


def _adds_a_timestamp(node: Node) -> bool:
    """To a duration, as far as can be seen: of two kinds one is always known, for data holds neither."""
    left, right = (_kind(part) for part in node.parts)
    return (right == "timestamp" and left in ("duration", None)) or (left == "duration" and right is None)


def _kind(node: Node) -> str | None:
    try:
        return look(node, {})
    except ExpressionError:
        return None
