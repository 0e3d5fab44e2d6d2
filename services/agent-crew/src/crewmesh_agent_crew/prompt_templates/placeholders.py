"""``{name}`` in a text stands for a value. It is filled in once; nothing in a value is ever read as a placeholder.

Anything else in braces is plain text, and so is what stands in two: ``{{name}}``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

NAME = r"[a-z][a-z0-9_]*"
_PLACEHOLDER = re.compile(rf"(?<!\{{)\{{({NAME})\}}(?!\}})")


def placeholders(text: str) -> set[str]:
    return set(_PLACEHOLDER.findall(text))


def filled(text: str, values: Mapping[str, str]) -> str:
    """The text with values in their places; a placeholder without a value stays as it is."""
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), text)
