"""A URL below the one that was granted, from what a model wrote: never another host, never above.

What servers decode once or twice more is decoded here as often: ``%252e%252e`` goes up nowhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

_MOST_DECODED = 4
_LONGEST = 2_000
# RFC 3986: what may stand in a segment as it is. The percent sign is not among them: it is encoded once more.
_SEGMENT = "!$&'()*+,;=:@-._~"


class OutsideOfGrantError(ValueError):
    """The text tells the model what is wrong."""


def below(granted: str, path: str, query: Mapping[str, str]) -> str:
    """The granted URL with ``path`` behind it and ``query`` added."""
    base = urlsplit(granted)
    segments = [quote(segment, safe=_SEGMENT) for segment in _segments(path)]
    whole = base.path if not segments else base.path.rstrip("/") + "/" + "/".join(segments)
    url = urlunsplit((base.scheme, base.netloc, whole or "/", _query(base.query, query), ""))
    made = urlsplit(url)
    if (made.scheme, made.netloc) != (base.scheme, base.netloc) or not made.path.startswith(base.path.rstrip("/")):
        raise OutsideOfGrantError("the path leads out of what this tool is granted")
    if len(url) > _LONGEST:
        raise OutsideOfGrantError(f"the URL is longer than {_LONGEST} characters")
    return url


def _segments(path: str) -> list[str]:
    if "?" in path or "#" in path:
        raise OutsideOfGrantError("path holds a path only; put what belongs behind the question mark into query")
    trimmed = path.removeprefix("/")
    if not trimmed:
        return []
    segments = trimmed.split("/")
    # One empty segment at the end is how some servers name a folder.
    if any(segment == "" for segment in segments[:-1]):
        raise OutsideOfGrantError("path is relative to the granted URL, and holds no // and no other host")
    for segment in segments:
        _check(segment)
    return segments


def _check(segment: str) -> None:
    decoded = segment
    for _ in range(_MOST_DECODED):
        if decoded.strip() in (".", "..") or (any(mark in decoded for mark in "/\\;") and decoded != segment):
            raise OutsideOfGrantError("path leads upwards, or hides a slash; name what is below the granted URL")
        if "\\" in decoded or any(ord(character) < 0x20 or ord(character) == 0x7F for character in decoded):
            raise OutsideOfGrantError("path holds characters that no path holds")
        further = unquote(decoded)
        if further == decoded:
            return
        decoded = further
    raise OutsideOfGrantError("path is encoded too often")


def _query(granted: str, added: Mapping[str, str]) -> str:
    fixed = {name for name, _ in parse_qsl(granted, keep_blank_values=True)}
    taken = sorted(fixed & set(added))
    if taken:
        raise OutsideOfGrantError(f"query: {', '.join(taken)} is fixed, and cannot be chosen")
    return "&".join(filter(None, (granted, urlencode(added))))
