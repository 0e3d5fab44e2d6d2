"""Where the accounts of organizations may lead: the public internet, and private networks only if the operator says so.

An address is looked at when the account is saved, and again, as it is looked up then, whenever it is connected to.
"""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from crewmesh_kit.outbound.addresses import Address, address_of, belongs_to_this_machine, why_not_public

from crewmesh_agent_crew.providers.protocol import ProviderError

_INSIDE = ("loopback", "private", "carrier-grade NAT")
_PORTS = {"http": 80, "https": 443}


class Gate:
    def __init__(self, *, private: bool, mesh_ports: frozenset[int]) -> None:
        self._private = private
        self._mesh_ports = mesh_ports

    def why_not(self, url: str) -> str | None:
        """What is wrong with the base URL of an account, as far as it shows without a look-up."""
        parts = _parts(url)
        if parts is None or parts.scheme not in _PORTS or not parts.hostname:
            return "it must be a URL like https://host/path"
        if parts.username is not None or parts.query or parts.fragment:
            return "it must have neither a user nor a query nor a fragment"
        if parts.scheme == "http" and not self._private:
            return "it must begin with https, for a key travels with every request"
        address = address_of(parts.hostname)
        refused = None if address is None else self._why_refused(address, parts.port or _PORTS[parts.scheme])
        return None if refused is None else f"it leads to a {refused}"

    def check(self, url: str) -> None:
        """Right before a request, for what was saved under other settings."""
        reason = self.why_not(url.partition("?")[0])
        if reason is not None:
            raise ProviderError("refused", f"its address is refused: {reason}")

    def check_resolved(self, host: str, address: Address, port: int) -> None:
        """The refusal does not say which address it was: that would map the private network."""
        if not self.allows(address, port):
            raise ProviderError("refused", f"its address is refused: {host} does not lead to a public address")

    def allows(self, address: Address, port: int) -> bool:
        return self._why_refused(address, port) is None

    def _why_refused(self, address: Address, port: int) -> str | None:
        kind = why_not_public(address)
        if port in self._mesh_ports and (kind == "loopback" or belongs_to_this_machine(address)):
            return "port of the mesh itself"
        if kind is None or (self._private and kind in _INSIDE):
            return None
        return f"{kind} address"


def _parts(url: str) -> SplitResult | None:
    if not url.isascii() or not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port  # reading it is what finds a wrong one
    except ValueError:
        return None
    return parts
