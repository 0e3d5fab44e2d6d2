"""Which addresses are one caller's, wherever callers are counted by where they come from."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address

from crewmesh_gateway.limits.allowlist import plain_address

# Providers give a customer at least this much of IPv6, so its addresses are one caller's.
_IPV6_PREFIX_BYTES = 8


def neighbourhood(address: str | None) -> str:
    """An address of IPv4, the network of one of IPv6, and whatever else a server may call its peer."""
    known = plain_address(address or "")
    if isinstance(known, IPv6Address):
        packed = known.packed[:_IPV6_PREFIX_BYTES] + bytes(16 - _IPV6_PREFIX_BYTES)
        return f"{ip_address(packed)}/64"
    return str(known) if known else (address or "unknown")[:64]
