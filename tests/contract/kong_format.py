"""Kong's declarative format as a strict model: the entities we use, by the schemas of Kong 3.9.1.

Kong itself cannot be installed everywhere the tests run. Unknown fields, wrong types and values out of range are
refused here as Kong refuses them; what the file means is then checked on the parsed model, and tests/edge runs it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from tests.contract.kong_plugins import Host, Milliseconds, Name, Plugin, Strict

Method = Literal["GET", "HEAD", "PUT", "PATCH", "POST", "DELETE", "OPTIONS", "TRACE", "CONNECT"]
Count = Annotated[int, Field(ge=0, le=255)]
Seconds = Annotated[float, Field(ge=0, le=65_535)]
Status = Annotated[int, Field(ge=100, le=999)]
PlainPath = Annotated[str, StringConstraints(pattern=r"^/")]


def _route_path(value: str) -> str:
    if value.startswith("~/"):
        re.compile(value[1:])
    elif not value.startswith("/"):
        raise ValueError("a path begins with / or, as a regular expression, with ~/")
    return value


RoutePath = Annotated[str, AfterValidator(_route_path)]


class Route(Strict):
    """Without hosts, headers and sources: what matches by those is not modelled by the test edge either."""

    name: Name
    protocols: list[Literal["http", "https"]] = ["http", "https"]
    methods: list[Method] | None = None
    paths: Annotated[list[RoutePath], Field(min_length=1)]
    https_redirect_status_code: Literal[426, 301, 302, 307, 308] = 426
    regex_priority: int = 0
    strip_path: bool = True
    preserve_host: bool = False
    request_buffering: bool = True
    response_buffering: bool = True
    # v1 is deprecated, and unknown to the router that is the default.
    path_handling: Literal["v0"] = "v0"
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

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""


class Healthy(Strict):
    http_statuses: list[Status] = [200, 302]
    successes: Count = 0


class ActiveHealthy(Healthy):
    interval: Seconds = 0


class Unhealthy(Strict):
    http_statuses: list[Status] = [429, 500, 503]
    tcp_failures: Count = 0
    timeouts: Count = 0
    http_failures: Count = 0


class ActiveUnhealthy(Unhealthy):
    interval: Seconds = 0


class ActiveChecks(Strict):
    type: Literal["tcp", "http", "https", "grpc", "grpcs"] = "http"
    timeout: Seconds = 1
    concurrency: Annotated[int, Field(ge=1, le=2**31)] = 10
    http_path: PlainPath = "/"
    https_sni: Host | None = None
    https_verify_certificate: bool = True
    headers: dict[str, list[str]] | None = None
    healthy: ActiveHealthy = ActiveHealthy()
    unhealthy: ActiveUnhealthy = ActiveUnhealthy()


class PassiveChecks(Strict):
    type: Literal["tcp", "http", "https", "grpc", "grpcs"] = "http"
    healthy: Healthy = Healthy()
    unhealthy: Unhealthy = Unhealthy()


class HealthChecks(Strict):
    active: ActiveChecks = ActiveChecks()
    passive: PassiveChecks = PassiveChecks()
    threshold: Annotated[float, Field(ge=0, le=100)] = 0


class Target(Strict):
    target: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z.\-]+:\d{1,5}$")]
    weight: Annotated[int, Field(ge=0, le=65_535)] = 100
    tags: list[str] | None = None


class Upstream(Strict):
    """Without what hashing needs, for nothing is hashed here."""

    name: Host
    algorithm: Literal["least-connections", "round-robin", "latency"] = "round-robin"
    slots: Annotated[int, Field(ge=10, le=2**16)] = 10_000
    healthchecks: HealthChecks = HealthChecks()
    host_header: Host | None = None
    use_srv_name: bool = False
    tags: list[str] | None = None
    targets: Annotated[list[Target], Field(min_length=1)]


class KongFile(Strict):
    format_version: Literal["3.0"] = Field(alias="_format_version")
    transform: bool = Field(default=True, alias="_transform")
    comment: str | None = Field(default=None, alias="_comment")
    ignored: list[object] = Field(default=[], alias="_ignore")
    services: list[Service]
    routes: list[Route] = []
    upstreams: list[Upstream] = []
    plugins: list[Plugin] = []

    @property
    def all_routes(self) -> list[tuple[Service | None, Route]]:
        """With the service each belongs to, if any."""
        found: list[tuple[Service | None, Route]] = [(None, route) for route in self.routes]
        return found + [(service, route) for service in self.services for route in service.routes]

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        for names in (
            [service.name for service in self.services],
            [route.name for _, route in self.all_routes],
            [upstream.name for upstream in self.upstreams],
        ):
            if len(names) != len(set(names)):
                raise ValueError("two services, two routes or two upstreams have one name")
        return self

    @model_validator(mode="after")
    def _a_plugin_stands_once_in_one_place(self) -> Self:
        places: Iterable[list[Plugin]] = (
            self.plugins,
            *(service.plugins for service in self.services),
            *(route.plugins for _, route in self.all_routes),
        )
        for plugins in places:
            kinds = [plugin.name for plugin in plugins]
            if len(kinds) != len(set(kinds)):
                raise ValueError("a plugin is configured twice in one place; the second would replace the first")
        return self
