"""Where requests may go: public addresses; loopback only when a developer opened it; never the mesh's own ports."""

from __future__ import annotations

from dataclasses import dataclass

from crewmesh_kit.outbound.addresses import Address, belongs_to_this_machine, why_not_public
from crewmesh_kit.outbound.targets import Target

from crewmesh_integration.guard.errors import DestinationRefused

# Names that mean "inside" wherever they are asked; their addresses are not even looked up.
_INSIDE_NAMES = ("local", "internal", "localdomain", "home.arpa")


def _is_under(host: str, zone: str) -> bool:
    return host == zone or host.endswith("." + zone)


@dataclass(frozen=True, slots=True)
class OutboundPolicy:
    allow_loopback: bool
    mesh_ports: frozenset[int]

    def check_target(self, target: Target) -> None:
        """Refuse what can be refused before anything is looked up."""
        if target.address is not None:
            kind = self._why_refused(target.address, target.port)
            if kind is not None:
                raise DestinationRefused(f"{target.host} port {target.port} is refused: {kind}. {_ADVICE}")
        elif _is_under(target.host, "localhost"):
            if not self.allow_loopback:
                raise DestinationRefused(f"{target.host} is this machine itself. {_ADVICE}")
        elif any(_is_under(target.host, zone) for zone in _INSIDE_NAMES):
            raise DestinationRefused(f"{target.host} is a name of a private network. {_ADVICE}")

    def check_resolved(self, host: str, address: Address, port: int) -> None:
        """Refuse a looked-up address. The answer does not say which it was: that would map the private network."""
        if self._why_refused(address, port) is not None:
            raise DestinationRefused(f"{host} port {port} does not lead to a public address. {_ADVICE}")

    def allows(self, address: Address, port: int) -> bool:
        return self._why_refused(address, port) is None

    def _why_refused(self, address: Address, port: int) -> str | None:
        kind = why_not_public(address)
        if kind == "loopback" and self.allow_loopback:
            return "the port belongs to the mesh itself" if port in self.mesh_ports else None
        if kind is None and port in self.mesh_ports and belongs_to_this_machine(address):
            return "the port belongs to the mesh itself"
        return f"{kind} address" if kind else None


_ADVICE = "Outbound requests go to public addresses only."
