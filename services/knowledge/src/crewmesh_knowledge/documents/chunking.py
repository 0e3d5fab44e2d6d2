"""Cutting a text into chunks that each fit the embedding model and still make sense.

A text that is too long is cut at the strongest border that helps: headings, then paragraphs, lines, sentences, words,
and only if all of that fails between two characters. The pieces are then packed greedily into chunks; a chunk begins
with the last pieces of the one before it (the overlap), and a heading prefers to begin a chunk of its own.

By hand, because the time must be linear in any text: the library at hand takes half a minute for 1 MB of Chinese, or
of one letter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

Span: TypeAlias = tuple[int, int]

_BORDERS = (
    re.compile(r"\n(?=#{1,6} )"),  # before a Markdown heading
    re.compile(r"\n\s*\n"),  # between paragraphs
    re.compile(r"\n"),
    re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])"),  # between sentences
    re.compile(r"\s+"),
)
_HEADING = re.compile(r"#{1,6} ")


@dataclass(frozen=True, slots=True)
class Chunk:
    """``position`` counts the chunks of the document; ``start`` is where the text stands in it, in characters."""

    position: int
    start: int
    text: str


def chunks_of(text: str, *, size: int, overlap: int) -> list[Chunk]:
    """Chunks of at most ``size`` characters, in order. A text without anything but white space has none."""
    spans = (_trimmed(text, span) for span in _packed(text, list(_pieces(text, (0, len(text)), size)), size, overlap))
    filled = [span for span in spans if span[0] < span[1]]
    return [Chunk(position, start, text[start:end]) for position, (start, end) in enumerate(filled)]


def _pieces(text: str, span: Span, size: int, level: int = 0) -> Iterator[Span]:
    """Neighbouring spans, none longer than ``size``, that together are ``span``; each keeps the border it ends with."""
    start, end = span
    if end - start <= size:
        yield span
    elif level == len(_BORDERS):
        yield from ((at, min(at + size, end)) for at in range(start, end, size))
    else:
        cuts = [start, *(found.end() for found in _BORDERS[level].finditer(text, start, end)), end]
        for one, next_ in pairwise(cuts):
            if one < next_:
                yield from _pieces(text, (one, next_), size, level + 1)


def _packed(text: str, pieces: list[Span], size: int, overlap: int) -> Iterator[Span]:
    first = 0  # the piece the chunk being filled begins with
    for index, (start, end) in enumerate(pieces):
        filled = start - pieces[first][0]
        heading = _HEADING.match(text, start) is not None
        if end - pieces[first][0] > size or (heading and filled > size // 2):
            yield pieces[first][0], start
            first = index if heading else _overlapping(pieces, first, index, size, overlap)
    if pieces:
        yield pieces[first][0], pieces[-1][1]


def _overlapping(pieces: list[Span], first: int, index: int, size: int, overlap: int) -> int:
    """The earliest piece before ``index`` with which the next chunk may begin."""
    start, end = pieces[index]
    begin = index
    while begin - 1 > first and start - pieces[begin - 1][0] <= overlap and end - pieces[begin - 1][0] <= size:
        begin -= 1
    return begin


def _trimmed(text: str, span: Span) -> Span:
    start, end = span
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())
