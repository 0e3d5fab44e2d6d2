"""Which headers pass the gateway.

Inwards only what services understand: everything else a client sends (its own key, cookies, ``dapr-*`` headers that
would choose another callee, ``x-forwarded-*`` claims, hop-by-hop headers) stays outside. The trace context is written
anew, from the gateway's own span. On public paths strangers choose the names of their headers (signatures, ids of
deliveries), so there everything goes in but these. Outwards everything but what belongs to a single hop.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from crewmesh_kit.http.headers import BASIC_AUTHORIZATION
from crewmesh_kit.http.middleware import LENGTH_HEADER
from crewmesh_kit.ids import new_id

_PASSED_IN = frozenset(
    {
        "accept",
        "accept-language",
        "content-encoding",
        "content-language",
        "content-type",
        "idempotency-key",
        "if-match",
        "if-modified-since",
        "if-none-match",
        "if-unmodified-since",
        "last-event-id",
        "prefer",
        "range",
        "user-agent",
        "x-request-id",
    }
)
_KEPT_OUT = frozenset(
    {
        # of one hop only
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        # what the mesh says itself
        "baggage",
        "traceparent",
        "tracestate",
        "x-real-ip",
        "forwarded",
        "via",
        # what belongs to somebody's account with us
        "authorization",
        "cookie",
        "x-api-key",
    }
)
_KEPT_OUT_PREFIXES = ("dapr-", "crewmesh-", "grpc-", "proxy-", "x-forwarded-")
_REPEATABLE = frozenset({"GET", "HEAD", "OPTIONS"})
_CLOUD_EVENT_PREFIX = "ce-"  # CloudEvents in binary mode carry their attributes in headers

_KEPT_BACK = frozenset(
    {
        # of one hop only (RFC 9110)
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        # the gateway's server writes its own
        b"date",
        b"server",
        # what the sidecars tell each other
        b"traceparent",
        b"tracestate",
        b"grpc-trace-bin",
        LENGTH_HEADER.encode(),
        # services have no sessions
        b"set-cookie",
    }
)


def plain(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """By lower-case name. One that is sent twice becomes a list, as RFC 9110 reads it; so two keys are no key."""
    found: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def passed_in(method: str, headers: Mapping[str, str], *, token: str) -> dict[str, str]:
    """A client's headers as a service gets them, with the token that says on whose behalf.

    A mutation without a key gets one here, because the sidecars repeat a request whose connection was lost.
    """
    kept = {
        name: value for name, value in headers.items() if name in _PASSED_IN or name.startswith(_CLOUD_EVENT_PREFIX)
    }
    kept["authorization"] = f"Bearer {token}"
    # Between neighbours compression costs more than it saves, and a stream must not wait for a compressor's buffer.
    kept["accept-encoding"] = "identity"
    if method not in _REPEATABLE:
        kept.setdefault("idempotency-key", new_id("request"))
    return kept


def passed_in_publicly(headers: Mapping[str, str]) -> dict[str, str]:
    """A stranger's headers as a service gets them. Without a key of its own every request gets one here."""
    hop = {name.strip().lower() for name in headers.get("connection", "").split(",")}
    kept = {
        name: value
        for name, value in headers.items()
        if name not in _KEPT_OUT and name not in hop and not name.startswith(_KEPT_OUT_PREFIXES)
    }
    basic = headers.get("authorization") or headers.get(BASIC_AUTHORIZATION, "")
    if basic[:6].lower() == "basic ":
        kept[BASIC_AUTHORIZATION] = basic
    kept["accept-encoding"] = "identity"
    kept.setdefault("idempotency-key", new_id("request"))
    return kept


def passed_out(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """A service's headers as the client gets them."""
    kept: list[tuple[bytes, bytes]] = []
    for raw_name, value in headers:
        name = raw_name.lower()
        if name in _KEPT_BACK or name.startswith(b"dapr-"):
            continue
        kept.append((name, _public_location(value) if name == b"location" else value))
    return kept


def _public_location(value: bytes) -> bytes:
    """A service knows itself by an address of the mesh; the client only needs the path."""
    if not value.startswith((b"http://", b"https://")):
        return value
    _, _, rest = value.partition(b"://")
    _, slash, path = rest.partition(b"/")
    return slash + path if path.startswith(b"v1/") else value
