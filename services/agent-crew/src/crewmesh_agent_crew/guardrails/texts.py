"""Text as a model may be shown it: nothing that people would not see, not longer than it may be."""

from __future__ import annotations

import re
import unicodedata

# Formatting nobody sees: zero-width, direction marks, tags that spell ASCII, variation selectors, soft hyphens.
_UNSEEN = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
# One joiner behind a character that is seen and is not of ASCII: scripts and families of emoji are written with them.
_INVISIBLE = re.compile(f"([^\x00-\x7f{_UNSEEN}][\ufe0e\ufe0f]?[\u200c\u200d]?)|[{_UNSEEN}]")
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_HALVES = re.compile("[\ud800-\udfff]")


def readable(text: str) -> str:
    """Without invisible characters and controls; lines stay lines."""
    plain = _HALVES.sub("\ufffd", text).replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROLS.sub("", _seen(plain))


def hidden_share(text: str) -> float:
    """How much of the text nobody would see."""
    return 1 - len(_seen(text)) / len(text) if text else 0.0


def _seen(text: str) -> str:
    return _INVISIBLE.sub(r"\1", text)


def folded(text: str) -> str:
    """For looking for words however they are written: compatibility forms, case, accents and spaces do not matter."""
    decomposed = unicodedata.normalize("NFKD", readable(text)).casefold()
    without_marks = "".join(character for character in decomposed if not unicodedata.combining(character))
    return " ".join(without_marks.split())


def cut(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    return f"{text[:most]}\n[cut here: {len(text) - most} more characters]"
