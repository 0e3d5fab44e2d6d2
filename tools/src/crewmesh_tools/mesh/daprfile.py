"""Reads the multi-app ``dapr.yaml`` that ``dapr run -f .`` reads, by the same rules.

Paths under ``common`` are relative to the file, those of an app to its ``appDirPath``; what an app says wins over
``common``; environment variables of both are merged. A key this runner would not honour is refused rather than ignored.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from crewmesh_tools.mesh.errors import MeshError


class _Section(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)


class Shared(_Section):
    """What may stand under ``common`` as well as in an app."""

    resources_paths: tuple[Path, ...] = ()
    config_file_path: Path | None = None
    env: dict[str, str] = Field(default_factory=dict[str, str])
    log_level: str | None = None
    max_body_size: str | None = None
    read_buffer_size: str | None = None


class App(Shared):
    """One app and its sidecar; beyond dapr.yaml there may be further replicas of it, see replicas.py."""

    app_id: str = Field(validation_alias="appID")
    app_dir_path: Path
    app_port: int
    dapr_http_port: int = Field(validation_alias="daprHTTPPort")
    dapr_grpc_port: int = Field(validation_alias="daprGRPCPort")
    dapr_internal_grpc_port: int = Field(validation_alias="daprInternalGRPCPort")
    metrics_port: int
    command: tuple[str, ...] = Field(min_length=1)
    replica: Literal[1, 2] = 1

    @property
    def name(self) -> str:
        return self.app_id if self.replica == 1 else f"{self.app_id}-{self.replica}"

    @property
    def ports(self) -> tuple[int, ...]:
        return (
            self.app_port,
            self.dapr_http_port,
            self.dapr_grpc_port,
            self.dapr_internal_grpc_port,
            self.metrics_port,
        )


class DaprFile(_Section):
    version: int
    common: Shared = Shared()
    apps: tuple[App, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _nothing_twice(self) -> DaprFile:
        names = [app.app_id for app in self.apps]
        ports = [port for app in self.apps for port in app.ports]
        for kind, values in (("appID", names), ("port", ports)):
            twice = {value for value in values if values.count(value) > 1}  # pyright: ignore[reportArgumentType]
            if twice:
                raise ValueError(f"{kind} {', '.join(map(str, sorted(map(str, twice))))} is given twice")
        return self


def read_dapr_file(path: Path) -> tuple[App, ...]:
    """The apps, with ``common`` merged in and all paths absolute."""
    try:
        parsed = DaprFile.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise MeshError(f"{path} cannot be read: {error.strerror}.") from error
    except yaml.YAMLError as error:
        raise MeshError(f"{path} is not YAML: {error}") from error
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise MeshError(f"{path} is not understood: {problems}.") from error
    return tuple(_merged(app, parsed.common, path.parent.resolve()) for app in parsed.apps)


def _merged(app: App, common: Shared, base: Path) -> App:
    folder = _existing(base / app.app_dir_path)
    resources = [folder / path for path in app.resources_paths] or [base / path for path in common.resources_paths]
    config = folder / app.config_file_path if app.config_file_path else None
    if config is None and common.config_file_path:
        config = base / common.config_file_path
    return app.model_copy(
        update={
            "app_dir_path": folder,
            "resources_paths": tuple(_existing(path) for path in resources),
            "config_file_path": _existing(config) if config else None,
            "env": {**common.env, **app.env},
            "log_level": app.log_level or common.log_level,
            "max_body_size": app.max_body_size or common.max_body_size,
            "read_buffer_size": app.read_buffer_size or common.read_buffer_size,
        }
    )


def _existing(path: Path) -> Path:
    resolved = path.resolve()
    if not resolved.exists():
        raise MeshError(f"dapr.yaml names {resolved}, which does not exist.")
    return resolved
