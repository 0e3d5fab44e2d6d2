"""kong/kong.yaml is what Kong 3.9 accepts, and it means what the mesh needs."""

from __future__ import annotations

import re
from functools import cache
from typing import cast

import pytest
import yaml
from crewmesh_gateway.main import create_app
from crewmesh_gateway.openapi.merge import merged
from crewmesh_gateway.proxy.routing import OWN_RESOURCES, OWNERS, SERVICES
from crewmesh_gateway.settings import Settings
from pydantic import ValidationError

from tests.contract.kong_format import KongFile, Route, Service
from tests.contract.kong_plugins import (
    PRIORITIES,
    REFERENCE,
    CorrelationId,
    IpRestriction,
    OpenTelemetry,
    PostFunction,
    PreFunction,
    Prometheus,
    RateLimiting,
    RequestTermination,
    ResponseTransformer,
)
from tests.contract.test_gateway_routes import described
from tests.edge.configuration import FILE, TEXT, service, the
from tests.edge.router import match
from tests.rules.repository import ROOT, Mapping, at, documents, mappings

MESH = "http://127.0.0.1:3500/v1.0/invoke/gateway/method/"
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")


def kind(path: str, method: str = "GET") -> str:
    """The name of the route, which is also that of its service."""
    found = match(FILE, method, path)
    assert found is not None, f"{method} {path} has no route at all"
    return found.route.name


@cache
def operations() -> list[tuple[str, str, bool]]:
    """(method, path, whether it streams) of the whole public API."""
    document = merged({app: described(app) for app in ("gateway", *SERVICES)}, {})
    found: list[tuple[str, str, bool]] = []
    for path, item in cast("dict[str, Mapping]", document["paths"]).items():
        for method, operation in item.items():
            if method.upper() in METHODS:
                good = at(operation, "responses.200.content")
                streams = isinstance(good, dict) and "text/event-stream" in good
                found.append((method.upper(), re.sub(r"\{[^}]+\}", "x1", path), streams))
    return found


def expected(method: str, path: str, *, streams: bool) -> str:
    for beginning, name in {"auth": "auth", "hooks": "webhooks-in", "approval-links": "approval-links"}.items():
        if path.startswith(f"/v1/{beginning}/"):
            return name
    # What is said in a conversation is a write, also when its answer is asked for word by word: it lasts as long as
    # that answer, and says itself that nobody may collect it on the way.
    if streams and method == "GET":
        return "streams"
    return "api-reads" if method in ("GET", "HEAD", "OPTIONS") else "api-writes"


def test_every_public_operation_is_routed_as_its_kind() -> None:
    wrong = {
        f"{method} {path}": (kind(path, method), wanted)
        for method, path, streams in operations()
        if kind(path, method) != (wanted := expected(method, path, streams=streams))
    }
    assert not wrong
    assert sum(streams for *_, streams in operations()) >= 1


@pytest.mark.parametrize("resource", [*OWNERS, *OWN_RESOURCES])
def test_every_resource_has_a_kind_before_it_has_operations(resource: str) -> None:
    for method in METHODS:
        for path in (f"/v1/{resource}", f"/v1/{resource}/some-id"):
            assert kind(path, method) != "nowhere" or (method, resource) in {
                (verb, "approval-links") for verb in ("PUT", "PATCH", "DELETE")
            }


def test_nothing_of_the_gateway_that_is_not_public_is_routed() -> None:
    inner = {"/metrics", "/healthz", "/readyz", "/version", "/internal/openapi.json", "/dapr/subscribe", "/dapr/config"}
    routes: list[object] = list(create_app().router.routes)
    inner |= {str(getattr(route, "path", "")) for route in routes}
    for path in sorted(inner):
        concrete = re.sub(r"\{[^}]+\}", "x1", path) or "/"
        if concrete.startswith("/v1/") or concrete in PUBLIC:
            continue
        assert {kind(concrete, method) for method in METHODS} == {"nowhere"}, concrete


PUBLIC = ("/", "/docs", "/openapi.json", "/.well-known/jwks.json")


@pytest.mark.parametrize("path", PUBLIC)
def test_the_description_is_public(path: str) -> None:
    assert kind(path) == "description"
    assert kind(path, "POST") == "nowhere"


def test_kongs_sidecar_may_call_what_kong_routes_and_no_more() -> None:
    (gateway,) = documents(ROOT / "dapr-config" / "gateway.yaml")
    (kong,) = [each for each in mappings(at(gateway, "spec.accessControl.policies")) if each["appId"] == "kong"]
    assert {str(each["name"]) for each in mappings(kong["operations"])} == {"/v1/**", *PUBLIC}


@pytest.mark.parametrize(
    "path",
    [
        "/internal/search", "/subscriptions/events", "/subscriptions/signals", "/dapr/subscribe", "/v1.0/invoke/x",
        "/v1.0/publish/pubsub/events", "/v1", "/openapi_json", "/docs/", "/openapi.json/", "/v1/../internal/search",
        "/v1/%2e%2e/internal", "/x/../metrics", "//metrics", "/app/", "/mcp/",
    ],
)  # fmt: skip
def test_everything_else_is_nowhere(path: str) -> None:
    assert {kind(path, method) for method in (*METHODS, "PROPFIND")} == {"nowhere"}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/runs/../hooks/x", "webhooks-in"),
        ("/v1/%61uth/login", "auth"),
        ("/v1//auth/login", "auth"),
        ("/v1/runs/a/b/events", "api-reads"),
        ("/v1/runs/x/events/y", "api-reads"),
        ("/v1/hooks/runs/x/events", "webhooks-in"),
    ],
)
def test_a_path_in_disguise_is_taken_for_what_it_is(path: str, name: str) -> None:
    """The first function refuses most of these; should it not, the limits of their own kind hold."""
    assert kind(path) == name


def test_what_goes_on_is_what_the_route_was_found_by() -> None:
    found = match(FILE, "GET", "/v1/x/%2e%2e/runs/caf%c3%a9%2Fx")
    assert found is not None
    assert found.path == "/v1/runs/caf%C3%A9%2Fx"


def test_every_way_into_the_mesh_is_the_sidecar_but_that_of_streams() -> None:
    for each in FILE.services:
        assert (each.name == "streams") == (each.url != MESH)
        assert [route.name for route in each.routes] == [each.name], "one kind, one service, one figure in Prometheus"
        assert not any(route.strip_path for route in each.routes), "the gateway wants to see /v1"


def test_routes_name_their_methods() -> None:
    """Kong prefers one that names methods to one with a longer path, so all do, and what catches the rest does not."""
    for each in FILE.services:
        assert all(route.methods for route in each.routes)
    (nowhere,) = FILE.routes
    assert nowhere.methods is None
    assert nowhere.paths == ["/"]
    said = the(RequestTermination, nowhere.plugins).config
    assert (said.status_code, said.content_type) == (404, "application/problem+json")


@pytest.mark.parametrize("name", ["api-reads", "api-writes", "webhooks-in", "streams"])
def test_nothing_is_collected_on_the_way(name: str) -> None:
    (route,) = service(name).routes
    assert not route.request_buffering
    assert not route.response_buffering


def test_only_reading_is_tried_again() -> None:
    for owner, route in FILE.all_routes:
        safe = set(route.methods or ()) <= {"GET", "HEAD", "OPTIONS"}
        assert owner is None or owner.retries == (1 if safe else 0), route.name


def test_the_gateway_is_the_one_who_loses_patience() -> None:
    for each in FILE.services:
        assert each.read_timeout > Settings().proxy.first_byte_seconds * 1000
        assert each.connect_timeout <= 2000
    assert service("streams").read_timeout > 3 * 15_000, "several heartbeats may be late"


def test_streams_go_to_replicas_that_are_ready() -> None:
    (upstream,) = FILE.upstreams
    assert service("streams").host == upstream.name
    assert [target.target for target in upstream.targets] == [f"gateway:{Settings().http.port}"]
    active, passive = upstream.healthchecks.active, upstream.healthchecks.passive
    assert active.http_path == "/readyz"
    assert active.healthy.interval > 0, "a passive check takes a replica out and never brings it back"
    assert active.unhealthy.interval > 0
    assert active.healthy.http_statuses == [200]
    assert passive.unhealthy.tcp_failures > 0
    assert passive.unhealthy.timeouts == 0, "a silent stream is no sign of illness"


def limits_of(owner: Service | None, route: Route) -> RateLimiting:
    return the(RateLimiting, owner.plugins if owner else route.plugins)


def test_every_kind_is_counted_alone_and_by_address() -> None:
    for owner, route in FILE.all_routes:
        config = limits_of(owner, route).config
        assert config.limit_by == "ip"
        assert config.policy == "redis"
        assert config.fault_tolerant
        assert config.redis is not None
        assert config.redis.timeout <= 200, "every request waits for it"
        assert (config.redis.host, config.redis.username) == ("valkey", "edge")
        assert not config.hide_client_headers, "Retry-After is one of them"
    assert not [plugin for plugin in FILE.plugins if isinstance(plugin, RateLimiting)], "it would be shared by all"


def test_who_guesses_is_slower_than_who_works() -> None:
    per_minute = {route.name: limits_of(owner, route).config.limits["minute"] for owner, route in FILE.all_routes}
    assert per_minute["approval-links"] <= per_minute["auth"] < per_minute["api-reads"]
    assert per_minute["nowhere"] < per_minute["api-reads"]


def test_which_functions_a_kind_has() -> None:
    looked_at = {
        each.name for each in FILE.services if any("well_formed" in code for code in _last(each).config.access)
    }
    assert looked_at == {"api-reads", "api-writes", "auth", "streams"}, "webhooks bring what their workflow wants"
    for each in FILE.services:
        (token,) = set(REFERENCE.findall("".join(_last(each).config.access)))
        assert token == ("crewmesh-edge-token" if each.name == "streams" else "dapr-api-token")
        assert not [plugin for plugin in each.plugins if isinstance(plugin, PreFunction)], "it would replace the first"
    small = {each.name for each in FILE.services if any("64 * 1024" in code for code in _last(each).config.access)}
    assert small == {"auth", "approval-links"}
    assert len(the(PreFunction).config.access) == 3


def _last(each: Service) -> PostFunction:
    return the(PostFunction, each.plugins)


def test_what_answers_carry() -> None:
    added = dict(pair.split(":", 1) for pair in the(ResponseTransformer).config.add.headers)
    assert "default-src 'none'" in added["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in added["Content-Security-Policy"]
    assert added["X-Content-Type-Options"] == "nosniff"
    assert added["Referrer-Policy"] == "no-referrer"
    assert "camera=()" in added["Permissions-Policy"]
    assert the(CorrelationId).config.header_name == "X-Request-ID"


def test_figures_and_traces() -> None:
    figures = the(Prometheus).config
    assert figures.status_code_metrics
    assert not figures.per_consumer
    traces = the(OpenTelemetry).config
    assert traces.sampling_rate == 1, "or Kong would decide for everybody that a trace is not recorded"
    assert traces.propagation.inject == ["w3c"]


def test_addresses_are_restricted_by_who_wants_it() -> None:
    assert not the(IpRestriction).enabled


def test_plugins_run_in_a_known_order() -> None:
    everywhere = [FILE.plugins, *(each.plugins for each in FILE.services), *(route.plugins for route in FILE.routes)]
    assert {plugin.name for plugins in everywhere for plugin in plugins} <= set(PRIORITIES)


def test_no_secret_is_written_down() -> None:
    assert set(REFERENCE.findall(TEXT)) == {
        "crewmesh-edge-origins",
        "crewmesh-edge-token",
        "dapr-api-token",
        "edge-valkey-password",
        "otel-exporter-otlp-traces-endpoint",
    }
    assert "vault://" not in REFERENCE.sub("", TEXT), "another vault, or a reference with options"
    assert not re.search(r"cm_[A-Za-z0-9]{6,}|[A-Za-z0-9+/_]{40,}", TEXT)


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('_format_version: "3.0"', '_format_version: "1.1"'),
        ("strip_path: false", "strip_pth: false"),
        ("limit_by: ip", "limit_by: address"),
        ("minute: 3000", "minute: 3"),
        ("policy: redis", "policy: cluster"),
        ("    host: valkey", "    server: valkey"),
        ("name: api-writes", "name: api-reads"),
        ("name: prometheus", "name: promethes"),
        ("paths: [/v1/]", "paths: [v1]"),
        ("retries: 1", "retries: many"),
        ("retries: 1", "retries: -1"),
        ("content_type: application/problem+json", "message: x"),
        ("algorithm: least-connections", "algorithm: fastest"),
        ("timeouts: 2", "timeouts: 256"),
        ("target: gateway:8080", "target: http://gateway:8080"),
        ("deny: [192.0.2.0/24", "deny: [192.0.2.0/33"),
        ("deny:", "deny_:"),
        ("sampling_rate: 1", "sampling_rate: 2"),
        ("inject: [w3c]", "inject: [w4c]"),
        ("max_batch_size: 1000", "max_batch_size: 0"),
        ("X-Frame-Options:DENY", "X-Frame-Options DENY"),
        ("return function()", "return func()"),
        ("header_filter: [", "headers_filter: ["),
        ("generator: uuid", "generator: guid"),
        ("      deny:", "      since: x\n      deny:"),
    ],
)
def test_the_model_refuses_what_kong_refuses(right: str, wrong: str) -> None:
    assert right in TEXT
    with pytest.raises(ValidationError):
        KongFile.model_validate(yaml.safe_load(TEXT.replace(right, wrong)))
