"""From which networks an organization admits requests."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv6Address, ip_address, ip_network

from crewmesh_gateway.principals.models import Address, Network

MOST_NETWORKS = 200


def plain_address(text: str) -> Address | None:
    """The address that ``text`` is; one of IPv4 in the clothes of IPv6 (``::ffff:192.0.2.1``) is undressed."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or IPv6Address(int(address))  # without the name of an interface (fe80::1%eth0)
    return address


def admits(networks: Iterable[Network], address: str) -> bool:
    """Whether one of the networks contains the address; what is no address is in none."""
    known = plain_address(address)
    return known is not None and any(known in network for network in networks)


def canonical_networks(texts: Sequence[str]) -> tuple[str, ...]:
    """``texts`` as they came, when each is written in its one canonical form; a ValueError says how to write it."""
    if len(set(texts)) != len(texts):
        raise ValueError("a network is named twice")
    for text in texts:
        _check(text)
    return tuple(texts)


def _check(text: str) -> None:
    try:
        network = ip_network(text, strict=False)
        if "%" in text:
            raise ValueError("a network has no interface")
    except ValueError as error:
        raise ValueError(f"{text[:60]!r} is no network; write it like 192.0.2.0/24 or 2001:db8::/32") from error
    if isinstance(network.network_address, IPv6Address):
        mapped = network.network_address.ipv4_mapped
        if mapped is not None and network.prefixlen >= 96:
            raise ValueError(f"{text[:60]!r} is a network of IPv4; write {mapped}/{network.prefixlen - 96}")
    if str(network) != text:
        raise ValueError(f"{text[:60]!r} is not in canonical form; write {network}")
