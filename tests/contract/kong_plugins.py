"""The options of every plugin we use, by the schemas of Kong 3.9.1: unknown fields and wrong types are refused."""

from __future__ import annotations

import re
from ipaddress import ip_network
from typing import Annotated, Literal, Self

from lupa.luajit21 import LuaError, LuaRuntime
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

Name = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z.\-_~]+$")]
Milliseconds = Annotated[int, Field(ge=1, le=2**31 - 2)]
Positive = Annotated[float, Field(gt=0)]
Port = Annotated[int, Field(ge=0, le=65_535)]
HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+$")]
Host = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z]([0-9A-Za-z.\-_]*[0-9A-Za-z])?$")]
HeaderPair = Annotated[str, StringConstraints(pattern=r"^[^:]+:.*$")]
Reference = Annotated[str, StringConstraints(pattern=r"^\{vault://env/[a-z0-9-]+\}$")]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^/?#]+")]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


def _network(value: str) -> str:
    ip_network(value)
    return value


def _lua(code: str) -> str:
    """As Kong asks ``loadstring``: it has to be Lua; it is not run."""
    try:
        LuaRuntime().compile(code)
    except LuaError as error:
        raise ValueError(str(error)) from error
    return code


Network = Annotated[str, AfterValidator(_network)]
LuaCode = Annotated[str, AfterValidator(_lua)]


class RedisConfig(Strict):
    host: Host
    port: Port = 6379
    timeout: Milliseconds = 2000
    # Of these two alone may the value stand in a vault.
    username: str | None = None
    password: Reference | None = None
    database: int = 0
    ssl: bool = False
    ssl_verify: bool = False
    server_name: Host | None = None


class RateLimitingConfig(Strict):
    second: Positive | None = None
    minute: Positive | None = None
    hour: Positive | None = None
    day: Positive | None = None
    month: Positive | None = None
    year: Positive | None = None
    limit_by: Literal["consumer", "credential", "ip", "service", "header", "path"] = "consumer"
    header_name: HeaderName | None = None
    path: str | None = None
    # "cluster" needs a database.
    policy: Literal["local", "redis"] = "local"
    fault_tolerant: bool = True
    redis: RedisConfig | None = None
    hide_client_headers: bool = False
    error_code: Positive = 429
    error_message: str = "API rate limit exceeded"
    sync_rate: float = -1

    @property
    def limits(self) -> dict[str, float]:
        """By the period's name."""
        periods = ("second", "minute", "hour", "day", "month", "year")
        found: dict[str, float | None] = {period: getattr(self, period) for period in periods}
        return {period: limit for period, limit in found.items() if limit is not None}

    @model_validator(mode="after")
    def _the_parts_agree(self) -> Self:
        limits = list(self.limits.values())
        if not limits or limits != sorted(limits):
            raise ValueError("set at least one period, and no longer one below a shorter one")
        if self.policy == "redis" and self.redis is None:
            raise ValueError("the policy redis needs redis.host")
        if self.sync_rate != -1 and (self.policy != "redis" or self.sync_rate < 0.02):
            raise ValueError("sync_rate is for the policy redis, and at least 0.02")
        if (self.limit_by == "header") != (self.header_name is not None):
            raise ValueError("limit_by: header and header_name belong together")
        if self.limit_by == "path" and self.path is None:
            raise ValueError("limit_by: path needs a path")
        return self


class CorrelationIdConfig(Strict):
    header_name: HeaderName = "Kong-Request-ID"
    generator: Literal["uuid", "uuid#counter", "tracker"] = "uuid#counter"
    echo_downstream: bool = False


class IpRestrictionConfig(Strict):
    allow: list[Network] | None = None
    deny: list[Network] | None = None
    status: float | None = None
    message: str | None = None

    @model_validator(mode="after")
    def _somebody_is_meant(self) -> Self:
        if not self.allow and not self.deny:
            raise ValueError("allow or deny must name somebody")
        return self


class HeaderChanges(Strict):
    headers: list[HeaderPair] = []
    json_: list[HeaderPair] = Field(default=[], alias="json")
    json_types: list[Literal["boolean", "number", "string"]] = []


class HeaderNames(Strict):
    headers: list[HeaderName] = []
    json_: list[str] = Field(default=[], alias="json")


class ResponseTransformerConfig(Strict):
    remove: HeaderNames = HeaderNames()
    add: HeaderChanges = HeaderChanges()
    replace: HeaderChanges = HeaderChanges()
    append: HeaderChanges = HeaderChanges()


class RequestTerminationConfig(Strict):
    status_code: Annotated[int, Field(ge=100, le=599)] = 503
    message: str | None = None
    content_type: str | None = None
    body: str | None = None
    echo: bool = False
    trigger: HeaderName | None = None

    @model_validator(mode="after")
    def _one_way_of_saying_it(self) -> Self:
        if self.message and (self.body or self.content_type):
            raise ValueError("message cannot be used with content_type or body")
        if self.content_type and not self.body:
            raise ValueError("content_type requires a body")
        if self.echo and (self.content_type or self.body):
            raise ValueError("echo cannot be used with content_type and body")
        return self


class PrometheusConfig(Strict):
    per_consumer: bool = False
    status_code_metrics: bool = False
    ai_metrics: bool = False
    latency_metrics: bool = False
    bandwidth_metrics: bool = False
    upstream_health_metrics: bool = False


Format = Literal["w3c", "b3", "jaeger", "ot", "datadog", "aws", "gcp"]


class Propagation(Strict):
    extract: list[Format] | None = None
    clear: list[HeaderName] | None = None
    inject: list[Format | Literal["preserve", "b3-single"]] | None = None
    default_format: Format | Literal["b3-single"]


class Queue(Strict):
    max_batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = 200
    max_coalescing_delay: Annotated[float, Field(ge=0, le=3600)] = 1
    max_entries: Annotated[int, Field(ge=1, le=1_000_000)] = 10_000
    max_bytes: int | None = None
    max_retry_time: float = 60
    initial_retry_delay: Annotated[float, Field(ge=0.001, le=1_000_000)] = 0.01
    max_retry_delay: Annotated[float, Field(ge=0.001, le=1_000_000)] = 60
    concurrency_limit: Literal[-1, 1] = 1


class OpenTelemetryConfig(Strict):
    traces_endpoint: Url | Reference | None = None
    logs_endpoint: Url | Reference | None = None
    headers: dict[HeaderName, str] | None = None
    resource_attributes: dict[str, Annotated[str, StringConstraints(min_length=1)]] | None = None
    queue: Queue = Queue()
    connect_timeout: Milliseconds = 1000
    send_timeout: Milliseconds = 5000
    read_timeout: Milliseconds = 5000
    http_response_header_for_traceid: HeaderName | None = None
    sampling_rate: Annotated[float, Field(ge=0, le=1)] | None = None
    propagation: Propagation = Propagation(default_format="w3c")

    @model_validator(mode="after")
    def _it_goes_somewhere(self) -> Self:
        if not self.traces_endpoint and not self.logs_endpoint:
            raise ValueError("traces_endpoint or logs_endpoint must be set")
        return self


class FunctionConfig(Strict):
    """Lua by phase. Each text is evaluated once; when it returns a function, that is run for each request."""

    certificate: list[LuaCode] = []
    rewrite: list[LuaCode] = []
    access: list[LuaCode] = []
    header_filter: list[LuaCode] = []
    body_filter: list[LuaCode] = []
    log: list[LuaCode] = []

    @model_validator(mode="after")
    def _it_does_something(self) -> Self:
        if not any((self.certificate, self.rewrite, self.access, self.header_filter, self.body_filter, self.log)):
            raise ValueError("at least one phase needs a function")
        return self


class PluginBase(Strict):
    instance_name: Name | None = None
    enabled: bool = True
    protocols: list[Literal["http", "https", "grpc", "grpcs"]] | None = None
    tags: list[str] | None = None


class RateLimiting(PluginBase):
    name: Literal["rate-limiting"]
    config: RateLimitingConfig


class CorrelationId(PluginBase):
    name: Literal["correlation-id"]
    config: CorrelationIdConfig


class IpRestriction(PluginBase):
    name: Literal["ip-restriction"]
    config: IpRestrictionConfig


class ResponseTransformer(PluginBase):
    name: Literal["response-transformer"]
    config: ResponseTransformerConfig


class RequestTermination(PluginBase):
    name: Literal["request-termination"]
    config: RequestTerminationConfig


class Prometheus(PluginBase):
    name: Literal["prometheus"]
    config: PrometheusConfig


class OpenTelemetry(PluginBase):
    name: Literal["opentelemetry"]
    config: OpenTelemetryConfig


class PreFunction(PluginBase):
    name: Literal["pre-function"]
    config: FunctionConfig


class PostFunction(PluginBase):
    name: Literal["post-function"]
    config: FunctionConfig


Plugin = Annotated[
    RateLimiting
    | CorrelationId
    | IpRestriction
    | ResponseTransformer
    | RequestTermination
    | Prometheus
    | OpenTelemetry
    | PreFunction
    | PostFunction,
    Field(discriminator="name"),
]

# In which order Kong runs them, in every phase: the higher the earlier (PRIORITY in each plugin's handler.lua).
PRIORITIES = {
    "pre-function": 1_000_000,
    "correlation-id": 100_001,
    "ip-restriction": 990,
    "rate-limiting": 910,
    "response-transformer": 800,
    "opentelemetry": 14,
    "prometheus": 13,
    "request-termination": 2,
    "post-function": -1_000,
}

# One reference as it stands in the text of functions and options.
REFERENCE = re.compile(r"\{vault://env/([a-z0-9-]+)\}")
