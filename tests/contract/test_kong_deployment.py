"""Kong in compose and in Kubernetes: told the same, nothing open that need not be, and a counter it alone may use."""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import cast

import pytest
import redis
from crewmesh_testkit.ports import free_port
from crewmesh_testkit.servers import ServerProcess
from crewmesh_tools.servers.valkey import ValkeyServer

from tests.contract.kong_plugins import REFERENCE
from tests.contract.kustomize import render
from tests.edge.configuration import FILE, TEXT
from tests.rules.repository import ROOT, Mapping, at, documents, mappings, strings

COMPOSE = documents(ROOT / "docker-compose.yml")[0]
CLUSTER = render(ROOT / "k8s" / "overlays" / "production")


def in_compose() -> dict[str, str | None]:
    return cast("dict[str, str | None]", at(COMPOSE, "services.kong.environment"))


def in_kubernetes() -> dict[str, Mapping]:
    (kong,) = [one for one in CLUSTER if one["kind"] == "Deployment" and at(one, "metadata.name") == "kong"]
    (container,) = mappings(at(kong, "spec.template.spec.containers"))
    return {str(each["name"]): each for each in mappings(container["env"])}


def test_both_places_tell_kong_the_same() -> None:
    plain = {name: str(each["value"]) for name, each in in_kubernetes().items() if "value" in each}
    chosen = {name for name, value in in_compose().items() if value is None}
    elsewhere = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
    here = {name: str(value) for name, value in in_compose().items() if name not in {*chosen, elsewhere}}
    assert {name: value for name, value in plain.items() if name != elsewhere} == here
    assert chosen == {"KONG_TRUSTED_IPS", "CREWMESH_EDGE_ORIGINS"}
    for name in chosen:
        assert at(in_kubernetes()[name], "valueFrom.configMapKeyRef.optional") is True


def test_whatever_the_file_reads_from_the_environment_is_there() -> None:
    read = {name.upper().replace("-", "_") for name in REFERENCE.findall(TEXT)}
    assert read <= set(in_kubernetes())
    secret = {"DAPR_API_TOKEN", "CREWMESH_EDGE_TOKEN", "EDGE_VALKEY_PASSWORD"}
    assert read - secret <= set(in_compose())
    for name in secret:
        assert at(in_kubernetes()[name], "valueFrom.secretKeyRef.name"), name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("KONG_ADMIN_LISTEN", "off"),
        ("KONG_PROXY_ACCESS_LOG", "off"),
        ("KONG_DATABASE", "off"),
        ("KONG_HEADERS", "off"),
        ("KONG_HEADERS_UPSTREAM", "off"),
        ("KONG_ANONYMOUS_REPORTS", "off"),
        ("KONG_UNTRUSTED_LUA", "sandbox"),
        # A broken connection, not a slow answer: whoever is slow would be asked twice.
        ("KONG_NGINX_PROXY_PROXY_NEXT_UPSTREAM", "error"),
        ("KONG_REAL_IP_HEADER", "X-Forwarded-For"),
        ("KONG_REAL_IP_RECURSIVE", "on"),
    ],
)
def test_what_kong_must_be_told(name: str, value: str) -> None:
    assert in_compose()[name] == value


def test_traces_are_not_switched_off_by_kong() -> None:
    """The plugin marks every trace as not sampled where no instrumentation is on."""
    assert in_compose()["KONG_TRACING_INSTRUMENTATIONS"] == "request,balancer"
    assert in_compose()["KONG_TRACING_SAMPLING_RATE"] == "1"


def test_every_replica_of_the_gateway_is_a_target_of_its_own() -> None:
    (gateway,) = [one for one in CLUSTER if one["kind"] == "Service" and at(one, "metadata.name") == "gateway"]
    assert at(gateway, "spec.clusterIP") == "None"
    assert [target.target for target in FILE.upstreams[0].targets] == ["gateway:8080"]
    assert at(COMPOSE, "services.gateway-pod.networks.default.aliases") == ["gateway"]


def test_the_counter_is_found_by_its_name() -> None:
    assert "valkey" in cast("Mapping", COMPOSE["services"])
    (counter,) = [one for one in CLUSTER if one["kind"] == "Service" and at(one, "metadata.name") == "valkey"]
    assert at(counter, "spec.type") == "ExternalName"


# The valkey of the stack, with the very configuration it gets.


@pytest.fixture(scope="module")
def counter(tmp_path_factory: pytest.TempPathFactory) -> Generator[int]:
    folder = tmp_path_factory.mktemp("counter")
    server = ValkeyServer(folder, free_port(), "whole", keep=False)
    server.prepare()
    command = strings(at(COMPOSE, "services.valkey.command"))[-1]
    (script,) = re.findall(r"<<CONFIGURATION\n(.*?)CONFIGURATION", command, re.S)
    told = script.replace("$$EDGE_VALKEY_PASSWORD", "edges").replace("$$VALKEY_PASSWORD", "whole")
    with (folder / "valkey.conf").open("a") as configuration:
        configuration.write("\n".join(line for line in told.splitlines() if line.startswith("user ")) + "\n")
    process = ServerProcess(server, folder / "valkey.log")
    process.start()
    yield server.port
    process.stop()


# What rate-limiting of 3.9.1 asks of Redis with sync_rate -1.
COUNT = """
local cache_key, expiration = KEYS[1], ARGV[1]
local result_incr = redis.call("incr", cache_key)
if result_incr == 1 then redis.call("expire", cache_key, expiration) end
return result_incr - 1
"""


def edge(port: int) -> redis.Redis:
    return redis.Redis(port=port, username="edge", password="edges")


def test_kong_may_count(counter: int) -> None:
    asked = edge(counter)
    key = "ratelimit:00000000-0000-0000-0000-000000000000:b5ad:203.0.113.7:1790000000000:minute"
    assert [asked.eval(COUNT, 1, key, 60) for _ in range(3)] == [0, 1, 2]


@pytest.mark.parametrize(
    "command",
    [
        ("GET", "session"),
        ("GET", "ratelimit:x"),
        ("EVAL", "return redis.call('get', KEYS[1])", 1, "session"),
        ("EVAL", "return redis.call('incr', KEYS[1])", 1, "session"),
        ("EVAL", "return redis.call('keys', '*')", 0),
        ("KEYS", "*"),
        ("FLUSHALL",),
        ("XADD", "events", "*", "a", "b"),
        ("PUBLISH", "signals", "x"),
        ("CONFIG", "GET", "requirepass"),
        ("ACL", "LIST"),
    ],
)
def test_kong_may_do_nothing_else_there(counter: int, command: tuple[str | int, ...]) -> None:
    with pytest.raises(redis.ResponseError, match=r"(?i)permission|not allowed|can't run"):
        edge(counter).execute_command(*command)  # pyright: ignore[reportUnknownMemberType]  its **options are untyped
