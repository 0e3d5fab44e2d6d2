"""What the integration service can be told."""

from __future__ import annotations

from crewmesh_kit.outbound.mesh_ports import LOCAL_MESH_PORTS, refused_ports
from crewmesh_kit.settings import CommaSeparatedPorts, ServiceSettings, SettingsGroup
from pydantic import Field


class OutboundSettings(SettingsGroup):
    allow_loopback: bool = Field(
        default=False,
        description="Let requests reach servers on this machine (127.0.0.0/8, ::1). For development and demos only.",
    )
    mesh_ports: CommaSeparatedPorts = Field(
        default=LOCAL_MESH_PORTS,
        description="Ports of the mesh on this machine, comma separated: refused even when loopback is allowed.",
    )
    connect_seconds: float = Field(
        default=5.0, gt=0, le=60, description="How long one attempt to connect, TLS included, may take."
    )
    # A sidecar passes messages of 4 MiB, and a byte of an answer may take three in the JSON it travels in.
    max_answer_bytes: int = Field(
        default=1024 * 1024,
        ge=1024,
        le=1024 * 1024,
        description="How much of an answer's body is read; the rest is cut.",
    )


class DeliveriesSettings(SettingsGroup):
    retention_days: int = Field(
        default=30, ge=1, le=3650, description="How long the record of a delivery attempt is kept."
    )


class IntegrationSettings(ServiceSettings):
    outbound: OutboundSettings = OutboundSettings()
    deliveries: DeliveriesSettings = DeliveriesSettings()

    @property
    def refused_ports(self) -> frozenset[int]:
        return refused_ports(self, self.outbound.mesh_ports)
