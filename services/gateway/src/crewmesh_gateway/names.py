"""Names that people give to what others will read: in lists, in mails, beside buttons.

They are kept as they were given, in whatever script. What cannot be seen is refused where it could make a name look
like another one, or end the line it stands in.
"""

from __future__ import annotations

import unicodedata
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, StringConstraints

# What turns the direction of the text that follows, beyond the name. The marks of right-to-left scripts stay.
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_CONTROLS = ("Cc", "Zl", "Zp")
_INVISIBLE = ("C", "Z")


def _readable(name: str) -> str:
    """The name in composed form, so that what looks the same is the same."""
    for character in name:
        if character in _TURNING or unicodedata.category(character) in _CONTROLS:
            raise ValueError(f"must not contain control characters, and U+{ord(character):04X} is one; leave it away")
    if all(unicodedata.category(character).startswith(_INVISIBLE) for character in name):
        raise ValueError("must contain something that can be seen")
    composed = unicodedata.normalize("NFC", name)
    return composed if len(composed) <= len(name) else name


Name: TypeAlias = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(_readable)
]
ShortName: TypeAlias = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100), AfterValidator(_readable)
]
