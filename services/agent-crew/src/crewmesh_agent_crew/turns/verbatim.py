"""Text that passes through CrewAI unchanged.

CrewAI fills placeholders in prompts by replacing ``{role}``, ``{tools}`` and the like wherever they stand, and reads an
answer for words like ``Action:`` and for code fences. So what people and models write goes in with the few characters
that could mean something to it replaced, and comes out with them put back. The replacement is exact both ways: the
escape character, from a private-use area that carries no meaning, is itself escaped.
"""

from __future__ import annotations

import re

_ESCAPE = "\ue000"
_LETTERS = {"{": "o", "}": "c", ":": "n", "`": "t", _ESCAPE: "e"}
_CHARACTERS = {letter: character for character, letter in _LETTERS.items()}
_TO_HIDE = re.compile("[{}:`" + _ESCAPE + "]")
_HIDDEN = re.compile(_ESCAPE + "([" + "".join(_CHARACTERS) + "])")


def hide(text: str) -> str:
    """``text`` without anything that CrewAI would read as more than text."""
    return _TO_HIDE.sub(lambda found: _ESCAPE + _LETTERS[found[0]], text)


def reveal(text: str) -> str:
    """What ``hide`` was given; also inside of a longer text."""
    return _HIDDEN.sub(lambda found: _CHARACTERS[found[1]], text)
