"""What a model says, while it says it, as its final word will have it.

Words are held back until nothing that may follow changes what becomes of them: until a word is whole, a key or an image
has ended, or is too long to be one. So what is heard is always the beginning of what is kept. An answer without a
space, as data often are, is heard when it is over.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Protocol

from crewmesh_agent_crew.guardrails.texts import readable
from crewmesh_agent_crew.models.calls import TextSink

# Behind a space; between letters of scripts that are written without.
_BREAK = re.compile(r"(?<=[ \t\n])|(?<=[^\W\x00-\x7f])(?=[^\W\x00-\x7f])")
# The beginnings of what ``guard`` and ``secrets`` take out of texts, a little longer than these may be.
_UNFINISHED = re.compile(
    r"!?\[[^\]]{0,500}\Z"
    r"|!?\[[^\]]{0,500}\]\([^)]{0,4100}\Z"
    r"|<img\b[^>]{0,3000}\Z"
    r"|://\S*\Z"
    r"|\b(?:bearer|basic)\s*[A-Za-z0-9._~+/=-]*\Z"
    r"|-----BEGIN [A-Z ]*(?:PRIVATE KEY-----[^-]*(?:-----END [A-Z ]*)?)?\Z"
    r"|\b(?:api|secret|access|client|password|passwd|(?:api|secret)[_ -]?key|access[_ -]?token|client[_ -]?secret)"
    r"[\"']?\s{0,3}(?:[:=]\s{0,3}[\"']?[^\s\"',;]{0,200})?\Z",
    re.IGNORECASE,
)


class Ear(TextSink, Protocol):
    """Where words are heard."""

    def done(self) -> None:
        """All is said, or no more will be."""
        ...


class Speech:
    """An Ear before another. ``kept``: what becomes of a stretch of the answer in the end."""

    def __init__(self, ear: Ear, kept: Callable[[str], str]) -> None:
        self._ear = ear
        self._kept = kept
        # As it came, without a break in it; and what is readable but may become something else.
        self._raw = ""
        self._held = ""

    def add(self, text: str) -> None:
        before, self._raw = len(self._raw), self._raw + text
        end = max((found.end() for found in _BREAK.finditer(self._raw, before)), default=0)
        if end:
            self._held += readable(self._raw[:end])
            self._raw = self._raw[end:]
            self._say(_settled(self._held))

    def restart(self) -> None:
        self._raw = self._held = ""
        self._ear.restart()

    def done(self) -> None:
        self._held += readable(self._raw)
        self._raw = ""
        self._say(len(self._held))
        self._ear.done()

    def _say(self, end: int) -> None:
        said, self._held = self._held[:end], self._held[end:]
        if said:
            self._ear.add(self._kept(said))


def _settled(text: str) -> int:
    """Up to where it stays what it is. It ends with a break."""
    end = len(text)
    while end and (found := _UNFINISHED.search(text, 0, end)) is not None:
        end = max((each.end() for each in _BREAK.finditer(text, 0, found.start())), default=0)
    return end
