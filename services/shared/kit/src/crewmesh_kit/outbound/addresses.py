"""Which IP addresses belong to the public internet.

The table is written out instead of using ``ipaddress.is_global``: its opinion changes between Python releases, and it
holds some addresses for public that lead inward (IPv4 hidden in IPv6, the metadata service of one cloud).
"""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address

_REFUSED_V4 = (
    (IPv4Network("0.0.0.0/8"), "unspecified"),
    (IPv4Network("10.0.0.0/8"), "private"),
    (IPv4Network("100.64.0.0/10"), "carrier-grade NAT"),
    (IPv4Network("127.0.0.0/8"), "loopback"),
    (IPv4Network("168.63.129.16/32"), "cloud metadata"),
    (IPv4Network("169.254.0.0/16"), "link-local"),
    (IPv4Network("172.16.0.0/12"), "private"),
    (IPv4Network("192.0.0.0/24"), "reserved"),
    (IPv4Network("192.0.2.0/24"), "documentation"),
    (IPv4Network("192.52.193.0/24"), "reserved"),
    (IPv4Network("192.88.99.0/24"), "6to4 relay"),
    (IPv4Network("192.168.0.0/16"), "private"),
    (IPv4Network("198.18.0.0/15"), "benchmarking"),
    (IPv4Network("198.51.100.0/24"), "documentation"),
    (IPv4Network("203.0.113.0/24"), "documentation"),
    (IPv4Network("224.0.0.0/4"), "multicast"),
    (IPv4Network("240.0.0.0/4"), "reserved"),
)

# Of IPv6 only this block is the public internet; what is refused inside of it, and names for what lies outside.
_PUBLIC_V6 = IPv6Network("2000::/3")
_REFUSED_V6 = (
    (IPv6Network("::1/128"), "loopback"),
    (IPv6Network("::/128"), "unspecified"),
    (IPv6Network("::ffff:0:0/96"), "IPv4-mapped"),
    (IPv6Network("::/96"), "IPv4-compatible"),
    (IPv6Network("64:ff9b::/96"), "NAT64"),
    (IPv6Network("64:ff9b:1::/48"), "NAT64"),
    (IPv6Network("2001::/32"), "Teredo"),
    (IPv6Network("2001::/23"), "reserved"),
    (IPv6Network("2001:db8::/32"), "documentation"),
    (IPv6Network("2002::/16"), "6to4"),
    (IPv6Network("3ffe::/16"), "reserved"),
    (IPv6Network("3fff::/20"), "documentation"),
    (IPv6Network("fc00::/7"), "private"),
    (IPv6Network("fe80::/10"), "link-local"),
    (IPv6Network("fec0::/10"), "private"),
    (IPv6Network("ff00::/8"), "multicast"),
)


def why_not_public(address: Address) -> str | None:
    """Name the kind of a non-public address; ``None`` means that it is public."""
    if isinstance(address, IPv4Address):
        return next((kind for network, kind in _REFUSED_V4 if address in network), None)
    kind = next((kind for network, kind in _REFUSED_V6 if address in network), None)
    if kind is None and address not in _PUBLIC_V6:
        return "reserved"
    return kind


def address_of(text: str) -> Address | None:
    """Read the one canonical spelling of an address; every other spelling, and one with a zone, is not an address."""
    try:
        return None if "%" in text else ip_address(text)
    except ValueError:
        return None


def belongs_to_this_machine(address: Address) -> bool:
    """Ask the kernel which source it would use: for an address of our own, it is the same. Nothing is sent."""
    family = socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))
            return str(probe.getsockname()[0]) == str(address)
    except OSError:
        return False  # no way there: the connection will fail just as this one did
