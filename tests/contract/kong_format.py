"""Kong's declarative format as a strict model: the parts and plugins we use, by the schemas of Kong 3.9.1.

Kong itself cannot be installed everywhere the tests run. Unknown fields, wrong types and values out of range are
refused here as Kong refuses them; what the file means is then checked on the parsed model.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

Name = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z.\-_~]+$")]
Milliseconds = Annotated[int, Field(ge=1, le=2**31 - 2)]
Positive = Annotated[float, Field(gt=0)]
Method = Literal["GET", "HEAD", "PUT", "PATCH", "POST", "DELETE", "OPTIONS", "TRACE", "CONNECT"]
HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+$")]
RoutePath = Annotated[str, StringConstraints(pattern=r"^(/|~/)")]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class RateLimitingConfig(Strict):
    second: Positive | None = None
    minute: Positive | None = None
    hour: Positive | None = None
    day: Positive | None = None
    month: Positive | None = None
    year: Positive | None = None
    limit_by: Literal["consumer", "credential", "ip", "service", "header", "path"] = "consumer"
    policy: Literal["local", "redis"] = "local"
    fault_tolerant: bool = True
    hide_client_headers: bool = False
    error_code: Positive = 429
    error_message: str = "API rate limit exceeded"
    sync_rate: float = -1

    @model_validator(mode="after")
    def _longer_periods_have_higher_limits(self) -> Self:
        periods = (self.second, self.minute, self.hour, self.day, self.month, self.year)
        limits = [limit for limit in periods if limit is not None]
        if not limits or limits != sorted(limits):
            raise ValueError("set at least one period, and no longer one below a shorter one")
        return self


class CorsConfig(Strict):
    origins: list[str] | None = None
    headers: list[HeaderName] | None = None
    exposed_headers: list[HeaderName] | None = None
    methods: list[Method] | None = None
    max_age: float | None = None
    credentials: bool = False
    private_network: bool = False
    preflight_continue: bool = False


class CorrelationIdConfig(Strict):
    header_name: HeaderName = "Kong-Request-ID"
    generator: Literal["uuid", "uuid#counter", "tracker"] = "uuid#counter"
    echo_downstream: bool = False


class SizeConfig(Strict):
    allowed_payload_size: int = 128
    size_unit: Literal["megabytes", "kilobytes", "bytes"] = "megabytes"
    require_content_length: bool = False

    @property
    def most_bytes(self) -> int:
        return self.allowed_payload_size * {"megabytes": 2**20, "kilobytes": 2**10, "bytes": 1}[self.size_unit]


class PrometheusConfig(Strict):
    per_consumer: bool = False
    status_code_metrics: bool = False
    ai_metrics: bool = False
    latency_metrics: bool = False
    bandwidth_metrics: bool = False
    upstream_health_metrics: bool = False


class FunctionConfig(Strict):
    """Lua by phase; only the access phase is in use here."""

    access: Annotated[list[str], Field(min_length=1)]


class PluginBase(Strict):
    instance_name: Name | None = None
    enabled: bool = True
    tags: list[str] | None = None


class RateLimiting(PluginBase):
    name: Literal["rate-limiting"]
    config: RateLimitingConfig


class Cors(PluginBase):
    name: Literal["cors"]
    config: CorsConfig


class CorrelationId(PluginBase):
    name: Literal["correlation-id"]
    config: CorrelationIdConfig


class RequestSizeLimiting(PluginBase):
    name: Literal["request-size-limiting"]
    config: SizeConfig


class Prometheus(PluginBase):
    name: Literal["prometheus"]
    config: PrometheusConfig


class Function(PluginBase):
    name: Literal["pre-function", "post-function"]
    config: FunctionConfig


Plugin = Annotated[
    RateLimiting | Cors | CorrelationId | RequestSizeLimiting | Prometheus | Function, Field(discriminator="name")
]


class Route(Strict):
    name: Name
    protocols: list[Literal["http", "https"]] = ["http", "https"]
    methods: list[Method] | None = None
    hosts: list[str] | None = None
    paths: Annotated[list[RoutePath], Field(min_length=1)]
    headers: dict[HeaderName, list[str]] | None = None
    https_redirect_status_code: Literal[426, 301, 302, 307, 308] = 426
    regex_priority: int = 0
    strip_path: bool = True
    preserve_host: bool = False
    request_buffering: bool = True
    response_buffering: bool = True
    path_handling: Literal["v0", "v1"] = "v0"
    tags: list[str] | None = None
    plugins: list[Plugin] = []


class Service(Strict):
    name: Name
    url: str
    retries: Annotated[int, Field(ge=0, le=32767)] = 5
    connect_timeout: Milliseconds = 60_000
    write_timeout: Milliseconds = 60_000
    read_timeout: Milliseconds = 60_000
    enabled: bool = True
    tags: list[str] | None = None
    routes: list[Route] = []
    plugins: list[Plugin] = []

    @model_validator(mode="after")
    def _the_url_has_all_its_parts(self) -> Self:
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(f"{self.url} is no URL of a service")
        return self


class KongFile(Strict):
    format_version: Literal["3.0"] = Field(alias="_format_version")
    transform: bool = Field(default=True, alias="_transform")
    services: list[Service]
    plugins: list[Plugin] = []

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [each.name for each in self.services] + [
            route.name for service in self.services for route in service.routes
        ]
        if len(names) != len(set(names)):
            raise ValueError("two services or routes have one name")
        for plugins in [self.plugins, *(service.plugins for service in self.services)]:
            kinds = [plugin.name for plugin in plugins]
            if len(kinds) != len(set(kinds)):
                raise ValueError("a plugin is configured twice in one place; the second would replace the first")
        return self
