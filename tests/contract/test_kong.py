"""kong/kong.yaml is what Kong 3.9 accepts, and it means what the mesh needs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeVar, cast

import pytest
import yaml
from crewmesh_gateway.proxy.routing import OWN_RESOURCES, OWNERS
from crewmesh_gateway.settings import Settings
from lupa.luajit21 import LuaRuntime
from pydantic import ValidationError

from tests.contract.kong_format import (
    CorrelationId,
    Cors,
    Function,
    KongFile,
    Plugin,
    Prometheus,
    RateLimiting,
    RequestSizeLimiting,
    Route,
    Service,
)
from tests.rules.repository import ROOT

TEXT = (ROOT / "kong" / "kong.yaml").read_text()
FILE = KongFile.model_validate(yaml.safe_load(TEXT))
MESH = "http://127.0.0.1:3500/v1.0/invoke/gateway/method"
P = TypeVar("P")


def routed(path: str, method: str = "GET") -> tuple[Service, Route]:
    """Kong's choice: regular expressions before prefixes, then the longest prefix."""
    found: list[tuple[int, int, Service, Route]] = []
    for service in FILE.services:
        for route in service.routes:
            if route.methods is not None and method not in route.methods:
                continue
            for pattern in route.paths:
                if pattern.startswith("~"):
                    if re.match(pattern[1:], path):
                        found.append((1, route.regex_priority, service, route))
                elif path.startswith(pattern):
                    found.append((0, len(pattern), service, route))
    assert found, f"{method} {path} leads nowhere"
    return max(found, key=lambda each: each[:2])[2:]


def the(kind: type[P], plugins: list[Plugin] = FILE.plugins) -> P:
    (plugin,) = [each for each in plugins if isinstance(each, kind)]
    return plugin


def service(name: str) -> Service:
    (found,) = [each for each in FILE.services if each.name == name]
    return found


@pytest.mark.parametrize("resource", [*OWNERS, *OWN_RESOURCES])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_every_resource_of_the_gateway_is_routed_through_the_mesh(resource: str, method: str) -> None:
    for path in (f"/v1/{resource}", f"/v1/{resource}/some-id"):
        through, route = routed(path, method)
        assert through.url == MESH
        assert not route.strip_path, "the gateway wants to see /v1"
        assert not route.request_buffering
        assert not route.response_buffering


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json"])
def test_the_description_is_public(path: str) -> None:
    assert routed(path)[0].url == MESH


@pytest.mark.parametrize(
    "path",
    ["/internal/search", "/metrics", "/healthz", "/version", "/readyz", "/v1", "/v1.0/invoke/x", "/openapi_json"],
)
def test_nothing_else_is(path: str) -> None:
    with pytest.raises(AssertionError, match="leads nowhere"):
        routed(path)


def test_event_streams_go_straight_to_the_gateway_unbuffered() -> None:
    through, route = routed("/v1/runs/run_0123/events")
    assert through.url == f"http://gateway:{Settings().http.port}"
    assert not route.response_buffering
    assert not route.strip_path
    assert through.read_timeout > 3 * 15_000, "several heartbeats may be late"
    assert routed("/v1/runs/run_0123")[0].url == MESH
    assert routed("/v1/runs/a/b/events")[0].url == MESH
    assert routed("/v1/runs/run_0123/events", "POST")[0].url == MESH


def test_the_gateway_is_the_one_who_loses_patience() -> None:
    for each in FILE.services:
        assert each.read_timeout > Settings().proxy.first_byte_seconds * 1000
        assert each.retries <= 1


def test_the_edge_has_the_same_size_limit_as_the_services() -> None:
    assert the(RequestSizeLimiting).config.most_bytes == Settings().http.max_body_bytes


def test_plugins_of_the_whole_edge() -> None:
    cors = the(Cors).config
    assert cors.origins == ["*"]
    assert not cors.credentials, "with every origin allowed, credentials would let any page act as the visitor"
    assert {"ETag", "Location", "Retry-After"} <= set(cors.exposed_headers or [])
    assert {"Authorization", "Idempotency-Key", "If-Match", "Last-Event-ID"} <= set(cors.headers or [])
    assert the(RateLimiting).config.limit_by == "ip"
    assert the(CorrelationId).config.header_name == "X-Request-ID"
    assert the(Prometheus).config.status_code_metrics


def test_no_secret_is_written_down() -> None:
    assert re.findall(r"\{vault://[^}]+\}", TEXT) == ["{vault://env/dapr-api-token}"]
    assert not re.search(r"cm_[A-Za-z0-9]{6,}|[A-Za-z0-9+/_-]{40,}", TEXT)


@pytest.mark.parametrize(
    "broken",
    [
        TEXT.replace('_format_version: "3.0"', '_format_version: "1.1"'),
        TEXT.replace("strip_path: false", "strip_pth: false"),
        TEXT.replace("limit_by: ip", "limit_by: address"),
        TEXT.replace("minute: 3000", "minute: 3"),
        TEXT.replace("name: api", "name: description"),
        TEXT.replace("name: prometheus", "name: promethes"),
        TEXT.replace("paths: [/v1/]", "paths: [v1]"),
        TEXT.replace("retries: 1", "retries: many"),
    ],
)
def test_the_model_refuses_what_kong_refuses(broken: str) -> None:
    with pytest.raises(ValidationError):
        KongFile.model_validate(yaml.safe_load(broken))


# The two functions, run as Kong runs them: the chunk is evaluated once, and what it returns is run for each request.

KONG = """
function(path, headers, secret)
  local out = { set = {}, cleared = {}, status = nil }
  kong = {
    request = {
      get_raw_path = function() return path end,
      get_headers = function(_) return headers end,
    },
    service = { request = {
      set_header = function(name, value) out.set[name] = value end,
      clear_header = function(name) out.cleared[name] = true end,
    } },
    response = { exit = function(status, body, _) out.status = status; return status end },
    vault = { get = function(reference) out.reference = reference; return secret end },
  }
  return out
end
"""


class Outcome:
    def __init__(self, code: str, path: str, headers: dict[str, str], secret: str | None) -> None:
        lua = LuaRuntime()
        fake_kong = cast("Callable[..., dict[str, object]]", lua.eval(KONG))
        out = fake_kong(path, lua.table_from(headers), secret)
        cast("Callable[[], None]", lua.execute(code))()
        self.status = out["status"]
        self.set = dict(cast("dict[str, str]", out["set"]))
        self.cleared = set(cast("dict[str, bool]", out["cleared"]))
        self.reference = out["reference"]


def function(plugins: list[Plugin]) -> str:
    (code,) = the(Function, plugins).config.access
    return code


@pytest.mark.parametrize(
    "path",
    [
        "/v1/../internal",
        "/v1/runs/..",
        "/v1//runs",
        "/v1/%2e%2e/internal",
        "/v1/runs%2F..%2Fx",
        "/v1/runs\\x",
        "/v1/runs%5cx",
        "/v1/%00",
        "/v1/%252e",
        "/v1/runs;x",
        "/v1/runs%23",
    ],
)
def test_suspicious_paths_end_at_the_edge(path: str) -> None:
    assert Outcome(function(FILE.plugins), path, {}, None).status == 400


@pytest.mark.parametrize("path", ["/v1/runs/run_0123/events", "/v1/crews/caf%C3%A9", "/v1/x%20y", "/openapi.json", "/"])
def test_honest_paths_pass_the_edge(path: str) -> None:
    assert Outcome(function(FILE.plugins), path, {}, None).status is None


def test_no_header_of_a_client_chooses_the_callee() -> None:
    headers = {
        "dapr-app-id": "workflow",
        "dapr-api-token": "x",
        "authorization": "Basic ZGFwci1hcHAtaWQ6eA==",
        "accept": "*",
    }
    outcome = Outcome(function(FILE.plugins), "/v1/runs", headers, None)
    assert outcome.cleared == set(headers) - {"accept"}
    assert outcome.set == {"crewmesh-authorization": headers["authorization"]}, "webhooks may use basic authentication"
    assert Outcome(function(FILE.plugins), "/v1/runs", {"authorization": "Bearer cm_x"}, None).cleared == set()


def test_the_sidecars_token_is_added_and_without_it_nothing_is_sent() -> None:
    code = function(service("gateway-through-the-mesh").plugins)
    with_token = Outcome(code, "/v1/runs", {}, "t0ken")
    assert with_token.reference == "{vault://env/dapr-api-token}"
    assert (with_token.set, with_token.status) == ({"dapr-api-token": "t0ken"}, None)
    without = Outcome(code, "/v1/runs", {}, None)
    assert (without.set, without.status) == ({}, 503)
