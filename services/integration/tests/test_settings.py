"""Settings arrive from the environment as the runner and the manifests write them."""

from __future__ import annotations

import pytest
from crewmesh_integration.settings import IntegrationSettings
from pydantic import ValidationError


def test_loopback_is_closed_unless_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    assert IntegrationSettings().outbound.allow_loopback is False
    monkeypatch.setenv("CREWMESH_OUTBOUND__ALLOW_LOOPBACK", "true")
    assert IntegrationSettings().outbound.allow_loopback is True


def test_ports_of_the_mesh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREWMESH_OUTBOUND__MESH_PORTS", "3500, 5480,6380")
    monkeypatch.setenv("APP_PORT", "8083")
    monkeypatch.setenv("DAPR_HTTP_PORT", "3503")
    monkeypatch.setenv("DAPR_GRPC_PORT", "4503")
    assert IntegrationSettings().refused_ports == {3500, 5480, 6380, 8083, 3503, 4503}


def test_the_local_mesh_is_refused_without_being_told() -> None:
    assert {8080, 3503, 5503, 9300, 5480, 6380} <= IntegrationSettings().refused_ports


@pytest.mark.parametrize("ports", ["all", "3500;3501", "99999", "-1"])
def test_misspelt_ports_stop_the_service(monkeypatch: pytest.MonkeyPatch, ports: str) -> None:
    monkeypatch.setenv("CREWMESH_OUTBOUND__MESH_PORTS", ports)
    with pytest.raises(ValidationError):
        IntegrationSettings()
