"""Which route Kong takes: the default router of 3.9 (traditional_compatible), as far as methods and paths go.

A route that names methods and paths goes before one that names paths only, whatever the paths. Among equals a regular
expression goes before a prefix, then the higher regex_priority, then the longer prefix. Paths are compared after they
were normalised, and it is the normalised path that goes on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.contract.kong_format import KongFile, Route, Service

_RESERVED = frozenset("!*'();:@&=+$,/?%#[]")
_ENCODED = re.compile(r"%([0-9A-Fa-f]{2})")
_TO_ESCAPE = re.compile(r"[^!#$&'()*+,/:;=?@\[\]A-Za-z0-9\-_.~%]")


@dataclass(frozen=True, slots=True)
class Match:
    service: Service | None
    route: Route
    # As it goes on to the service.
    path: str


def match(file: KongFile, method: str, raw_path: str) -> Match | None:
    path = normalized(raw_path)
    best: tuple[tuple[int, int, int, int], Service | None, Route] | None = None
    for service, route in file.all_routes:
        if route.methods is not None and method not in route.methods:
            continue
        for pattern in route.paths:
            if not _fits(pattern, path):
                continue
            priority = _priority(route, pattern)
            if best is None or priority > best[0]:
                best = priority, service, route
    return Match(best[1], best[2], _TO_ESCAPE.sub(_escaped, path)) if best else None


def upstream_path(service_path: str, path: str) -> str:
    """Kong's joining of the service's path and the request's, with strip_path off."""
    if service_path.endswith("/"):
        return service_path + path[1:]
    return service_path if path == "/" and service_path else service_path + path


def normalized(raw_path: str) -> str:
    """Without ``.``, ``..`` and empty segments; what needs no encoding is decoded."""
    decoded = _ENCODED.sub(_decoded, raw_path)
    kept: list[str] = []
    segments = decoded.split("/")[1:]
    for number, segment in enumerate(segments):
        last = number == len(segments) - 1
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
            continue
        if last:
            kept.append("")
    return "/" + "/".join(kept)


def _fits(pattern: str, path: str) -> bool:
    if pattern.startswith("~"):
        return re.match(pattern[1:], path) is not None  # Kong anchors at the beginning only
    return path.startswith(pattern)


def _priority(route: Route, pattern: str) -> tuple[int, int, int, int]:
    weight = 1 + (route.methods is not None)
    if pattern.startswith("~"):
        return weight, 1, route.regex_priority, 0
    return weight, 0, 0, len(pattern)


def _decoded(found: re.Match[str]) -> str:
    character = chr(int(found[1], 16))
    return found[0].upper() if character in _RESERVED else character


def _escaped(found: re.Match[str]) -> str:
    return f"%{ord(found[0]):02X}"
