"""Refuses paths that two parties could read in two ways.

Access control in the sidecars looks at the path, and so does the service behind them. Dots, double or encoded slashes,
backslashes and fragments were normalised by one and not by the other before, which opened paths that were closed.
So the gateway lets a path through only when there is one way to read it. Identifiers and names never need more.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from crewmesh_kit.errors import InvalidRequest

# Plain segments of characters that stand for themselves. A percent sign may only introduce what is neither a control
# character nor one that has a meaning in paths: % . / \ # ? ; (and a dot is never encoded by anybody honest).
_SEGMENT = r"(?:[A-Za-z0-9._~!$&'()*+,=:@-]|%(?!2[35EeFf]|3[BbFf]|5[Cc]|7[Ff]|[01])[0-9A-Fa-f]{2})+"
_PATH = re.compile(rf"/v1/({_SEGMENT})((?:/{_SEGMENT})*)/?", re.ASCII)
_DOTS = re.compile(r"/\.{1,}(?:/|$)")
_QUERY = re.compile(r"[!-~]*", re.ASCII)  # printable ASCII; anything else must arrive percent-encoded
_LONGEST = 8_000


class SuspiciousPath(InvalidRequest):
    """The path or query is written in a way that two readers could take for two different places."""

    slug, title = "suspicious-path", "Suspicious path"

    def __init__(self) -> None:
        super().__init__(
            "The path must be made of plain segments: no . or .. segments, no empty ones, no backslash, #, ; or "
            "control characters, no encoded form of these or of / and the dot. Percent-encode values in the query."
        )


@dataclass(frozen=True, slots=True)
class Target:
    """A path under /v1 that has one reading."""

    resource: str
    path_and_query: str


def target_of(raw_path: bytes, query: bytes) -> Target:
    """``raw_path`` as it stood in the request line, undecoded."""
    path, tail = raw_path.decode("latin-1"), query.decode("latin-1")
    found = _PATH.fullmatch(path) if len(path) + len(tail) <= _LONGEST else None
    if found is None or _DOTS.search(path) or not _QUERY.fullmatch(tail) or "#" in tail or "\\" in tail:
        raise SuspiciousPath
    return Target(resource=found[1], path_and_query=f"{path}?{tail}" if tail else path)
