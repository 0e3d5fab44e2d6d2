"""A start that would fail is refused with the reason: who holds a port, how little disk is left."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Generator
from pathlib import Path
from types import SimpleNamespace

import pytest
from crewmesh_tools.mesh.errors import MeshError
from crewmesh_tools.mesh.preflight import check_disk, check_ports, disk_warning


@pytest.fixture
def taken() -> Generator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_a_taken_port_names_its_holder(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crewmesh_tools.mesh.preflight.HIGHEST_PORT", 65_535)
    with pytest.raises(MeshError, match=rf"port {taken} \(gateway\) is taken by process {os.getpid()}: .*python"):
        check_ports([("gateway", taken)])


def test_a_port_that_the_kernel_might_hand_out_is_refused() -> None:
    with pytest.raises(MeshError, match="smaller offset"):
        check_ports([("gateway", 40_000)])


def nearly_full(_: Path) -> SimpleNamespace:
    return SimpleNamespace(free=100 * 1024**2)


def nearly_empty(_: Path) -> SimpleNamespace:
    return SimpleNamespace(free=100 * 1024**3)


def test_little_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", nearly_empty)
    assert disk_warning(tmp_path) == ""
    check_disk(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", nearly_full)
    with pytest.raises(MeshError, match="Only 100 MB are free"):
        check_disk(tmp_path)
    assert "Only 100 MB are free" in disk_warning(tmp_path)
