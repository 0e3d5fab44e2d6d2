from pathlib import Path

import pytest
from crewmesh_kit.settings import CommaSeparatedPorts, ServiceSettings, SettingsGroup, variable_name
from pydantic import Field, SecretStr, ValidationError


class OutboundSettings(SettingsGroup):
    mesh_ports: CommaSeparatedPorts = Field(default=(), description="Ports never to call.")


class Settings(ServiceSettings):
    outbound: OutboundSettings = OutboundSettings()


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    for name in ("APP_PORT", "APP_API_TOKEN", "DAPR_HTTP_PORT", "DAPR_GRPC_PORT", "DAPR_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def test_nothing_needs_to_be_set() -> None:
    settings = ServiceSettings()
    assert (settings.environment, settings.http.max_body_bytes) == ("development", 4 * 1024 * 1024)


def test_variables_fill_the_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREWMESH_HTTP__MAX_BODY_BYTES", "2048")
    monkeypatch.setenv("CREWMESH_OUTBOUND__MESH_PORTS", "8080, 3500,")
    monkeypatch.setenv("CREWMESH_SOMETHING_OF_ANOTHER_SERVICE", "1")
    settings = Settings()
    assert settings.http.max_body_bytes == 2048
    assert settings.outbound.mesh_ports == (8080, 3500)


def test_what_dapr_run_gives_keeps_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_PORT", "8083")
    monkeypatch.setenv("DAPR_HTTP_PORT", "3503")
    monkeypatch.setenv("DAPR_GRPC_PORT", "4503")
    monkeypatch.setenv("DAPR_API_TOKEN", "out")
    monkeypatch.setenv("APP_API_TOKEN", "in")
    settings = ServiceSettings()
    assert (settings.http.port, settings.dapr.http_port, settings.dapr.grpc_port) == (8083, 3503, 4503)
    assert (settings.dapr.api_token, settings.dapr.app_api_token) == (SecretStr("out"), SecretStr("in"))


def test_a_value_may_stand_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://u:p@h/d\n")
    (tmp_path / "token").write_text("t")
    monkeypatch.setenv("CREWMESH_DATABASE__URL_FILE", str(tmp_path / "url"))
    monkeypatch.setenv("DAPR_API_TOKEN_FILE", str(tmp_path / "token"))
    settings = ServiceSettings()
    assert settings.database.url == SecretStr("postgresql://u:p@h/d")
    assert settings.dapr.api_token == SecretStr("t")


def test_a_value_and_its_file_at_once_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CREWMESH_DATABASE__URL", "x")
    monkeypatch.setenv("CREWMESH_DATABASE__URL_FILE", str(tmp_path))
    with pytest.raises(ValueError, match="both CREWMESH_DATABASE__URL and CREWMESH_DATABASE__URL_FILE"):
        ServiceSettings()


def test_a_file_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CREWMESH_DATABASE__URL_FILE", str(tmp_path / "none"))
    with pytest.raises(ValueError, match=r"CREWMESH_DATABASE__URL_FILE names .*none"):
        ServiceSettings()


def test_a_misspelt_variable_of_a_group_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREWMESH_HTTP__PROT", "1")
    with pytest.raises(ValidationError, match=r"http\.prot"):
        ServiceSettings()


def test_a_refused_value_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREWMESH_DATABASE__POOL_MAX", "sesame")
    with pytest.raises(ValidationError) as refused:
        ServiceSettings()
    assert "sesame" not in str(refused.value)


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAPR_API_TOKEN", "sesame")
    assert "sesame" not in repr(ServiceSettings())


def test_production_wants_its_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREWMESH_ENVIRONMENT", "production")
    monkeypatch.setenv("APP_API_TOKEN", "in")
    with pytest.raises(ValidationError, match="DAPR_API_TOKEN must be set"):
        ServiceSettings()


def test_a_place_in_the_tree_is_told_as_its_variable() -> None:
    assert variable_name(("http", "port")) == "APP_PORT"
    assert variable_name(("http", "max_body_bytes")) == "CREWMESH_HTTP__MAX_BODY_BYTES"
