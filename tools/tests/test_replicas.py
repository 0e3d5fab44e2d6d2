"""The second replica of each app: on ports of its own, found by the sidecars as long as it takes calls."""

from __future__ import annotations

from pathlib import Path

import yaml
from crewmesh_tools.mesh.daprfile import read_dapr_file
from crewmesh_tools.mesh.layout import Layout, default_dapr_file
from crewmesh_tools.mesh.replicas import with_replicas, write_endpoints, write_names_of_replicas

APPS = read_dapr_file(default_dapr_file())


def layout(home: Path) -> Layout:
    made = Layout(default_dapr_file(), home, 10_000, replicas=2)
    made.state.mkdir()
    return made


def test_second_replicas_have_names_and_ports_of_their_own() -> None:
    replicas = with_replicas(APPS, 2)
    assert [replica.name for replica in replicas[: len(APPS)]] == [app.app_id for app in APPS]
    assert [replica.name for replica in replicas[len(APPS) :]] == [f"{app.app_id}-2" for app in APPS]
    ports = [port for replica in replicas for port in replica.ports]
    assert len(ports) == len(set(ports)) == 2 * 5 * len(APPS)
    assert with_replicas(APPS, 1) == APPS


def test_sidecars_find_those_that_take_calls(tmp_path: Path) -> None:
    mesh, replicas = layout(tmp_path), with_replicas(APPS, 2)
    write_names_of_replicas(mesh)
    configuration = yaml.safe_load(mesh.names_file.read_text())["spec"]["nameResolution"]["configuration"]
    assert configuration == {"folder": str(mesh.endpoints)}
    write_endpoints(mesh, replicas, ready=lambda _: True)
    assert (mesh.endpoints / "workflow").read_text() == "127.0.0.1:15501\n127.0.0.1:15506\n"
    write_endpoints(mesh, replicas, ready=lambda replica: replica.name not in ("workflow", "knowledge", "knowledge-2"))
    assert (mesh.endpoints / "workflow").read_text() == "127.0.0.1:15506\n"
    assert (mesh.endpoints / "knowledge").read_text() == ""
