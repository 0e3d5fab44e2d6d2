"""Where a request came from, for the audit log: the client's address and program, as the edge saw them.

The edge writes both into headers of its own, which only a sidecar can bring in; what a client writes there itself never
gets past the edge.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass

ADDRESS_HEADER = "crewmesh-client-address"
_AGENT_HEADER = "user-agent"
_LONGEST_AGENT = 300


@dataclass(frozen=True, slots=True)
class Origin:
    address: str | None = None
    agent: str | None = None


_NOWHERE = Origin()
_origin: ContextVar[Origin] = ContextVar("origin", default=_NOWHERE)


def note_origin(headers: Mapping[str, str], *, address: str | None = None) -> None:
    """Remember for the rest of this request where it came from. ``address``: as it is known here, at the edge."""
    agent = headers.get(_AGENT_HEADER)
    _origin.set(Origin(address or headers.get(ADDRESS_HEADER), agent[:_LONGEST_AGENT] if agent else None))


def current_origin() -> Origin:
    return _origin.get()
