"""Connect to the address that was checked, and to no other.

The check sits inside the name resolution that the connection itself uses, so that there is no second look-up a
rebinding name server could answer differently; host name, ``Host`` header and TLS server name stay what the URL says.
The socket factory looks at the address once more, right before the connect, whatever way it came.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeAlias

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from crewmesh_kit.outbound.addresses import Address, address_of

# Looking up a name may hang for long; in threads of its own it cannot hold up anything else in the process.
_LOOKUP_THREADS = 16
_CONNECTIONS = 200
_CONNECTIONS_PER_HOST = 50


# As getaddrinfo describes an address: family, kind, protocol, canonical name, (host, port, …).
_AddressInfo: TypeAlias = tuple[int, int, int, str, tuple[str | int, ...]]


class Gate(Protocol):
    """Which addresses may be connected to."""

    def check_resolved(self, host: str, address: Address, port: int) -> None:
        """Raise for an address that a name led to and that is not allowed."""
        ...

    def allows(self, address: Address, port: int) -> bool: ...


class Lookup(Protocol):
    """Every address a name has, as text."""

    async def __call__(self, host: str, port: int) -> Sequence[str]: ...


class SystemLookup:
    """Ask the operating system."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_LOOKUP_THREADS, thread_name_prefix="dns")

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        found = await asyncio.get_running_loop().run_in_executor(self._threads, _getaddrinfo, host, port)
        return list(dict.fromkeys(found))

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


def _getaddrinfo(host: str, port: int) -> list[str]:
    # The dot of the root keeps the machine's search domains out of it: "a.example" must not become "a.example.corp".
    absolute = f"{host}." if "." in host else host
    return [str(info[4][0]) for info in socket.getaddrinfo(absolute, port, type=socket.SOCK_STREAM)]


class GuardedResolver(AbstractResolver):
    """Hands out addresses only if every one of them is allowed: a name that also leads inward is not to be trusted."""

    def __init__(self, gate: Gate, lookup: Lookup) -> None:
        self._gate = gate
        self._lookup = lookup

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        results: list[ResolveResult] = []
        for text in await self._lookup(host, port):
            address = address_of(text)
            if address is None:
                raise OSError(f"the name server answered {text!r}, which is no plain address")
            self._gate.check_resolved(host, address, port)
            family = socket.AF_INET if address.version == 4 else socket.AF_INET6
            results.append(
                ResolveResult(
                    hostname=host,
                    host=str(address),
                    port=port,
                    family=family,
                    proto=0,
                    flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
                )
            )
        if not results:
            raise OSError("the name has no address")
        return results

    async def close(self) -> None:
        """Nothing is held open."""


def guarded_connector(
    gate: Gate,
    lookup: Lookup,
    *,
    tls: ssl.SSLContext | None = None,
    keep: bool = False,
    most: int = _CONNECTIONS,
    most_per_host: int = _CONNECTIONS_PER_HOST,
) -> aiohttp.TCPConnector:
    """``keep``: connections serve several requests. Without it each serves one: nothing is shared between
    organizations, and aiohttp never repeats a request by itself because a kept connection turned out to be dead.
    """

    def open_socket(info: _AddressInfo) -> socket.socket:
        family, kind, protocol, _, where = info
        address = address_of(str(where[0]))
        if address is None or not gate.allows(address, int(where[1])):
            raise PermissionError("the guard forbids this address")
        return socket.socket(family=family, type=kind, proto=protocol)

    return aiohttp.TCPConnector(
        resolver=GuardedResolver(gate, lookup),
        socket_factory=open_socket,
        use_dns_cache=False,
        force_close=not keep,
        limit=most,
        limit_per_host=most_per_host,
        ssl=tls if tls is not None else True,
    )
