"""Where requests may go: every kind of address that is not the public internet is refused, however it is written."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from crewmesh_integration.guard.errors import DestinationRefused
from crewmesh_integration.guard.policy import OutboundPolicy
from crewmesh_kit.outbound.addresses import Address
from crewmesh_kit.outbound.targets import parse_target

CLOSED = OutboundPolicy(allow_loopback=False, mesh_ports=frozenset({3503}))
DEVELOPER = OutboundPolicy(allow_loopback=True, mesh_ports=frozenset({3503, 8083}))

NOT_PUBLIC = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:93.184.215.14",
    "::ffff:0:127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2001:20::1",
    "2002:7f00:1::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]


def _url(address: str, port: int = 80) -> str:
    return f"http://{address}:{port}/" if "." in address and ":" not in address else f"http://[{address}]:{port}/"


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_refuses_in_the_url_and_from_the_name_server(address: str) -> None:
    with pytest.raises(DestinationRefused):
        CLOSED.check_target(parse_target(_url(address)))
    with pytest.raises(DestinationRefused):
        CLOSED.check_resolved("example.com", ip_address(address), 80)
    assert not CLOSED.allows(ip_address(address), 80)


@pytest.mark.parametrize("address", ["93.184.215.14", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111"])
def test_lets_public_addresses_through(address: str) -> None:
    CLOSED.check_target(parse_target(_url(address)))
    CLOSED.check_resolved("example.com", ip_address(address), 443)


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST", "localhost.", "api.localhost", "printer.local", "metadata.google.internal"],
)
def test_refuses_names_that_mean_inside(host: str) -> None:
    with pytest.raises(DestinationRefused):
        CLOSED.check_target(parse_target(f"http://{host}/"))


@pytest.mark.parametrize("url", ["http://127.0.0.1:9000/", "http://[::1]:9000/", "http://localhost:9000/"])
def test_a_developer_may_open_loopback(url: str) -> None:
    DEVELOPER.check_target(parse_target(url))


@pytest.mark.parametrize("address", [address for address in NOT_PUBLIC if not address.startswith("127.")])
def test_opening_loopback_opens_nothing_else(address: str) -> None:
    if address == "::1":
        return
    with pytest.raises(DestinationRefused):
        DEVELOPER.check_target(parse_target(_url(address, 9000)))


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1"])
@pytest.mark.parametrize("port", [3503, 8083])
def test_the_mesh_itself_is_never_reachable(address: str, port: int) -> None:
    with pytest.raises(DestinationRefused, match="mesh itself"):
        DEVELOPER.check_target(parse_target(_url(address, port)))
    with pytest.raises(DestinationRefused):
        DEVELOPER.check_resolved("localhost", ip_address(address), port)


def test_the_mesh_is_not_reachable_by_the_public_address_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def ours(_: Address) -> bool:
        return True

    monkeypatch.setattr("crewmesh_integration.guard.policy.belongs_to_this_machine", ours)
    CLOSED.check_target(parse_target("http://93.184.215.14:80/"))
    with pytest.raises(DestinationRefused, match="mesh itself"):
        CLOSED.check_target(parse_target("http://93.184.215.14:3503/"))


def test_a_refused_look_up_does_not_tell_the_address() -> None:
    with pytest.raises(DestinationRefused) as refused:
        CLOSED.check_resolved("db.example.com", ip_address("10.1.2.3"), 5432)
    assert "10.1.2.3" not in refused.value.detail
    assert "private" not in refused.value.detail
