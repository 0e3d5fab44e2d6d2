"""What to send after a redirect: the method as the standard has it, and nothing confidential to another origin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urljoin

from crewmesh_kit.outbound.targets import BadUrlError, Target, parse_target

from crewmesh_integration.guard.errors import UpstreamRedirected

MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Everything else may be a credential, whatever its name, and is for the origin that it was written for.
_HEADERS_FOR_ANYBODY = frozenset({"accept", "accept-language", "content-type", "user-agent"})
_HEADERS_OF_A_BODY = frozenset({"content-type", "content-encoding", "content-language", "content-location"})


@dataclass(frozen=True, slots=True)
class Hop:
    """One request on the way. ``at_home`` holds until the first step to another origin, and does not come back."""

    method: str
    target: Target
    headers: Mapping[str, str]
    body: bytes | None
    at_home: bool = True


def is_redirect(status: int, location: str | None) -> bool:
    return status in _REDIRECTS and location is not None


def next_hop(hop: Hop, *, status: int, location: str) -> Hop:
    target = _target(hop.target, location)
    headers, body, method = hop.headers, hop.body, hop.method
    at_home = hop.at_home and target.origin == hop.target.origin
    if not at_home:
        headers = {name: value for name, value in headers.items() if name.lower() in _HEADERS_FOR_ANYBODY}
    if status == 303 or (status in (301, 302) and method == "POST"):
        method, body = "GET", None
        headers = {name: value for name, value in headers.items() if name.lower() not in _HEADERS_OF_A_BODY}
    return Hop(method, target, headers, body, at_home)


def _target(current: Target, location: str) -> Target:
    try:
        target = parse_target(urljoin(str(current.url), location))
    except (BadUrlError, ValueError) as error:
        why = str(error) if isinstance(error, BadUrlError) else "it is malformed"
        raise UpstreamRedirected(f"{current.host} redirects to a URL that cannot be followed: {why}.") from error
    if current.scheme == "https" and target.scheme == "http":
        raise UpstreamRedirected(f"{current.host} redirects from https to http, which would send the request in clear.")
    return target
