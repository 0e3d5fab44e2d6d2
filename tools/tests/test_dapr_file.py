"""dapr.yaml is read by the rules of ``dapr run -f .``."""

from __future__ import annotations

from pathlib import Path

import pytest
from crewmesh_tools.mesh.daprfile import read_dapr_file
from crewmesh_tools.mesh.errors import MeshError
from crewmesh_tools.mesh.layout import HIGHEST_PORT, default_dapr_file

APP = """
  - appID: {name}
    appDirPath: services/{name}
    configFilePath: own.yaml
    appPort: {port}
    daprHTTPPort: {port}1
    daprGRPCPort: {port}2
    daprInternalGRPCPort: {port}3
    metricsPort: {port}4
    command: [python, -m, {name}]
    env: {{COLOUR: blue}}
"""


@pytest.fixture
def written(tmp_path: Path) -> Path:
    for folder in ("services/one", "services/two", "components"):
        (tmp_path / folder).mkdir(parents=True)
    for service in ("one", "two"):
        (tmp_path / "services" / service / "own.yaml").touch()
    common = "common:\n  resourcesPaths: [components]\n  env: {COLOUR: red, SHAPE: round}\n  readBufferSize: 16Ki\n"
    path = tmp_path / "dapr.yaml"
    path.write_text(f"version: 1\n{common}apps:{APP.format(name='one', port=100)}{APP.format(name='two', port=200)}")
    return path


def test_common_is_merged_and_the_app_wins(written: Path) -> None:
    one, _ = read_dapr_file(written)
    assert one.env == {"COLOUR": "blue", "SHAPE": "round"}
    assert one.read_buffer_size == "16Ki"
    assert one.app_dir_path == written.parent / "services" / "one"
    assert one.config_file_path == written.parent / "services" / "one" / "own.yaml"
    assert one.resources_paths == (written.parent / "components",)
    assert one.ports == (100, 1001, 1002, 1003, 1004)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("appPort: 200", "appPort: 100"), "port 100 is given twice"),
        (("appID: two", "appID: one"), "appID one is given twice"),
        (("env: {COLOUR: blue}", "unixDomainSocket: /tmp"), "unixDomainSocket"),
        (("resourcesPaths: [components]", "resourcesPaths: [missing]"), "missing, which does not exist"),
        (("apps:", "apps: ["), "is not YAML"),
    ],
)
def test_what_is_wrong_is_named(written: Path, change: tuple[str, str], complaint: str) -> None:
    written.write_text(written.read_text().replace(*change))
    with pytest.raises(MeshError, match=complaint):
        read_dapr_file(written)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MeshError, match=r"dapr\.yaml cannot be read"):
        read_dapr_file(tmp_path / "dapr.yaml")


def test_the_mesh_itself() -> None:
    apps = read_dapr_file(default_dapr_file())
    assert [app.app_id for app in apps] == ["gateway", "workflow", "agent-crew", "integration", "knowledge"]
    assert max(port for app in apps for port in app.ports) + 20_000 <= HIGHEST_PORT
