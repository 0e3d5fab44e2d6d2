"""Which headers a request to the outside may not set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

# Set by the client, by the signature, or meaning something to every server on the way.
_OURS = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_OURS_PREFIX = "webhook-"


def refused_headers(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """The names that cannot be sent, and what to do about each."""
    seen: set[str] = set()
    for name in names:
        # Many servers hand "Content_Length" to the application as if it were "Content-Length".
        plain = name.lower().replace("_", "-")
        if plain in _OURS or plain.startswith(_OURS_PREFIX):
            yield name, "this header is set by Crewmesh; leave it away"
        elif plain in seen:
            yield name, "this header is there more than once; keep one of them"
        seen.add(plain)
