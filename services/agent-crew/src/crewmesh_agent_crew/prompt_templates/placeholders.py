"""``{name}`` in a text stands for a value. It is filled in once; nothing in a value is ever read as a placeholder.

Anything else in braces is plain text, and so is what stands in two: ``{{name}}``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

NAME = r"[a-z][a-z0-9_]*"
_PLACEHOLDER = re.compile(rf"(?<!\{{)\{{({NAME})\}}(?!\}})")


def placeholders(text: str) -> set[str]:
    return set(_PLACEHOLDER.findall(text))


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with values in their places; a placeholder without a value stays as it is."""
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), text)


def places(text: str, values: Mapping[str, str], names: Collection[str]) -> list[tuple[int, int]]:
    """Where in the filled text the values of these names stand, from where to where."""
    found: list[tuple[int, int]] = []
    longer = 0
    for placeholder in _PLACEHOLDER.finditer(text):
        if (value := values.get(placeholder[1])) is None:
            continue
        start = placeholder.start() + longer
        if value and placeholder[1] in names:
            found.append((start, start + len(value)))
        longer += len(value) - len(placeholder[0])
    return found
