"""Settings as a typed tree, read from the environment: ``CREWMESH_<GROUP>__<FIELD>``.

Each concern is a small frozen class whose fields carry bounds and a description (docs/reference/settings.md is made
from them). For every variable there is a twin ``<NAME>_FILE`` that names a file with the value, as container platforms
mount secrets. What ``dapr run`` hands to an app (``APP_PORT``, ``DAPR_HTTP_PORT``, the two API tokens) keeps its name.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

ENV_PREFIX = "CREWMESH_"
NESTED = "__"

# Variables that keep the name Dapr gives them, and the place in the tree that they fill.
PLAIN_VARIABLES: Mapping[str, str] = {
    "APP_PORT": "http__port",
    "DAPR_HTTP_PORT": "dapr__http_port",
    "DAPR_GRPC_PORT": "dapr__grpc_port",
    "DAPR_API_TOKEN": "dapr__api_token",
    "APP_API_TOKEN": "dapr__app_api_token",
}

Port = Annotated[int, Field(ge=0, le=65_535)]
# An address that people reach a service by, to which paths are added; or empty.
PublicUrl = Annotated[str, Field(max_length=500, pattern=r"^(https?://[^\s?#]+)?$")]


def _split_on_commas(value: object) -> object:
    if isinstance(value, str):
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


# Lists are written "a,b,c" in the environment, not as JSON.
CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split_on_commas)]
CommaSeparatedPorts = Annotated[tuple[Port, ...], NoDecode, BeforeValidator(_split_on_commas)]


class SettingsGroup(BaseModel):
    """Base of every concern: frozen, and a misspelt variable of the group is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class LogSettings(SettingsGroup):
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe level that is logged."
    )
    format: Literal["json", "text"] = Field(
        default="json", description="One JSON object per line, or text for reading."
    )


class TelemetrySettings(SettingsGroup):
    otlp_endpoint: str | None = Field(
        default=None,
        description="Base URL of an OTLP/HTTP collector, e.g. http://localhost:4318. Unset: nothing is exported.",
    )
    sample_ratio: float = Field(
        default=1.0, ge=0, le=1, description="Share of new traces that are recorded and exported."
    )


class HttpServerSettings(SettingsGroup):
    host: str = Field(default="127.0.0.1", description="Address the service listens on; its sidecar is its neighbour.")
    port: Port = Field(default=8080, description="Port the service listens on.")
    max_body_bytes: int = Field(
        default=4 * 1024 * 1024, ge=1024, le=64 * 1024 * 1024, description="Largest request body that is accepted."
    )
    head_seconds: float = Field(
        default=10.0, gt=0, le=600, description="How long the headers of a request may take to arrive."
    )
    max_head_bytes: int = Field(
        default=64 * 1024, ge=1024, le=1024 * 1024, description="Largest request line and headers that are accepted."
    )
    max_headers: int = Field(default=200, ge=10, le=10_000, description="Most headers of a request.")
    shutdown_seconds: float = Field(
        default=20.0, ge=0, le=600, description="How long requests and work in hand may take to finish at shutdown."
    )


class DatabaseSettings(SettingsGroup):
    url: SecretStr | None = Field(
        default=None, description="PostgreSQL URL. Unset: the secret database-url-<app-id> of the secret store is used."
    )
    pool_min: int = Field(default=1, ge=0, le=100, description="Connections kept open when idle.")
    pool_max: int = Field(default=16, ge=1, le=200, description="Most connections open at once.")


class DaprSettings(SettingsGroup):
    http_port: Port = Field(default=3500, description="HTTP port of the service's sidecar.")
    grpc_port: Port = Field(default=50_001, description="gRPC port of the service's sidecar.")
    api_token: SecretStr = Field(default=SecretStr(""), description="Token the sidecar wants from its app.")
    app_api_token: SecretStr = Field(default=SecretStr(""), description="Token the app wants from its sidecar.")


class ServiceSettings(BaseSettings):
    """What every service can be told. A service subclasses it and adds its own groups."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        env_nested_delimiter=NESTED,
        frozen=True,
        extra="ignore",  # one environment may serve several services
        hide_input_in_errors=True,
    )

    environment: Literal["development", "production"] = Field(
        default="development", description="In production, missing API tokens are a reason not to start."
    )
    log: LogSettings = LogSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    http: HttpServerSettings = HttpServerSettings()
    database: DatabaseSettings = DatabaseSettings()
    dapr: DaprSettings = DaprSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, _EnvironmentAndFiles(settings_cls)

    @model_validator(mode="after")
    def _production_has_tokens(self) -> Self:
        if self.environment == "production":
            tokens = {"DAPR_API_TOKEN": self.dapr.api_token, "APP_API_TOKEN": self.dapr.app_api_token}
            missing = [name for name, token in tokens.items() if not token.get_secret_value()]
            if missing:
                raise ValueError(f"{' and '.join(missing)} must be set when CREWMESH_ENVIRONMENT=production")
        return self


class _EnvironmentAndFiles(EnvSettingsSource):
    """The environment, with Dapr's plain names mapped into the tree and ``NAME_FILE`` replaced by that file's text."""

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls)
        self.env_vars = effective_variables(os.environ)


def effective_variables(environ: Mapping[str, str]) -> dict[str, str | None]:
    """Lower-case names as the settings tree knows them. A value beats its file; naming both is refused."""
    known = {name: value for name, value in environ.items() if name.upper().startswith(ENV_PREFIX)}
    for name in PLAIN_VARIABLES:
        known.update({twin: environ[twin] for twin in (name, f"{name}_FILE") if twin in environ})
    values: dict[str, str | None] = {}
    for name, value in known.items():
        if name.endswith("_FILE"):
            plain = name.removesuffix("_FILE")
            if plain in known:
                raise ValueError(f"both {plain} and {name} are set; keep one of them")
            values[_tree_name(plain)] = _file_text(name, value)
        else:
            values[_tree_name(name)] = value
    return values


def _tree_name(variable: str) -> str:
    place = PLAIN_VARIABLES.get(variable)
    return (ENV_PREFIX + place if place else variable).lower()


def _file_text(variable: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(f"{variable} names {path}, which cannot be read: {error.strerror}") from error


def variable_name(place: Sequence[str | int]) -> str:
    """The environment variable that fills ``place`` in the tree, e.g. ``("http", "port")`` → ``APP_PORT``."""
    path = NESTED.join(str(part) for part in place)
    plain = {tree: variable for variable, tree in PLAIN_VARIABLES.items()}
    return plain.get(path, (ENV_PREFIX + path).upper()) if path else "settings"
