"""The orders that a gullible reader finds in a text, in plain words or hidden in the usual ways."""

from __future__ import annotations

import base64
import binascii
import html
import json
import re
from collections.abc import Callable, Iterator
from typing import cast
from urllib.parse import unquote

from crewmesh_contracts.base import JsonObject

from crewmesh_testkit.model_fake import ToolUse

_ORDER = re.compile(r"CALL\s+([A-Za-z][A-Za-z0-9_-]*)\s*(?=\{)")
_SAYING = re.compile(r"\bSAY ([^\n]+)")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{24,}={0,2}")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2}){12,}")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\U000e0000-\U000e007f]")
_DEEPEST = 3
_MOST_READINGS = 50


def orders_in(text: str) -> Iterator[ToolUse]:
    """``CALL tool {…}``, each once, in the order in which they are found."""
    seen: set[tuple[str, str]] = set()
    for readable in _readings(text):
        for found in _ORDER.finditer(readable):
            try:
                arguments, _ = json.JSONDecoder().raw_decode(readable, found.end())
            except ValueError:
                continue
            order = ToolUse(found[1], cast(JsonObject, arguments))
            if (order.name, order.written) not in seen:
                seen.add((order.name, order.written))
                yield order


def sayings_in(text: str) -> Iterator[str]:
    for readable in _readings(text):
        yield from (found[1].strip() for found in _SAYING.finditer(readable))


def _readings(text: str) -> Iterator[str]:
    """The text, and whatever it becomes when the usual ways of hiding are undone, also one within the other."""
    seen = {text}
    layer = [text]
    for _ in range(_DEEPEST):
        yield from layer
        found = dict.fromkeys(plain for each in layer for plain in _undone(each) if plain not in seen)
        layer = list(found)[:_MOST_READINGS]
        seen.update(layer)
    yield from layer


def _undone(text: str) -> Iterator[str]:
    yield text.replace('\\"', '"').replace("\\n", "\n")
    yield _INVISIBLE.sub("", text)
    yield _tags_read(text)
    yield html.unescape(text)
    yield unquote(text)
    if "LLAC" in text or "YAS" in text:
        yield text[::-1]
    yield from _decoded(_BASE64, text, lambda found: base64.b64decode(found + "=" * (-len(found) % 4), altchars=b"-_"))
    yield from _decoded(_BASE64, text, lambda found: base64.b64decode(found + "=" * (-len(found) % 4)))
    yield from _decoded(_HEX, text, bytes.fromhex)


def _tags_read(text: str) -> str:
    """Unicode's tag characters spell ASCII that nobody sees."""
    return "".join(chr(ord(each) - 0xE0000) if 0xE0020 <= ord(each) <= 0xE007E else each for each in text)


def _decoded(pattern: re.Pattern[str], text: str, decode: Callable[[str], bytes]) -> Iterator[str]:
    for found in pattern.findall(text):
        try:
            yield decode(found).decode()
        except (ValueError, binascii.Error):
            continue
