"""Where accounts of organizations may lead: looked at when saved, and again at every connection."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import aiohttp
import pytest
from crewmesh_agent_crew.providers.addresses import Gate
from crewmesh_agent_crew.providers.http import Http, Outgoing
from crewmesh_agent_crew.providers.protocol import Account, ProviderError
from crewmesh_kit.outbound.addresses import address_of
from crewmesh_kit.outbound.connector import guarded_connector
from crewmesh_testkit.openai_fake import OpenAiFake

CLOSED = Gate(private=False, mesh_ports=frozenset({3502}))
OPEN = Gate(private=True, mesh_ports=frozenset({3502}))
INSIDE = (
    "https://127.0.0.1/v1",
    "https://10.1.2.3/v1",
    "https://172.16.0.1/v1",
    "https://192.168.1.1/v1",
    "https://100.64.0.1/v1",
    "https://[::1]/v1",
    "https://[fd00::1]/v1",
)
NEVER = (
    "https://169.254.169.254/latest",
    "https://168.63.129.16/",
    "https://0.0.0.0/",
    "https://224.0.0.1/",
    "https://[fe80::1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://user:secret@api.example/v1",
    "https://api.example/v1?key=1",
    "https://api.example/v1#x",
    "ftp://api.example/v1",
    "file:///etc/passwd",
    "https://",
    "api.example/v1",
    "https://api.example:99999/",
    "https://api.example/a b",
    "https://api.example/\r\nx",
    "https://bücher.example/",
    "https://127.0.0.1:3502/v1",
)


@pytest.mark.parametrize("url", INSIDE)
def test_inside_only_if_the_operator_says_so(url: str) -> None:
    assert CLOSED.why_not(url) is not None
    assert OPEN.why_not(url) is None


@pytest.mark.parametrize("url", NEVER)
def test_never(url: str) -> None:
    assert CLOSED.why_not(url) is not None
    assert OPEN.why_not(url) is not None


def test_a_key_travels_over_tls_unless_the_operator_says_otherwise() -> None:
    assert CLOSED.why_not("http://api.example/v1") is not None
    assert OPEN.why_not("http://api.example/v1") is None
    assert CLOSED.why_not("https://api.example/v1") is None


async def asked(gate: Gate, url: str, *found: str, trusted: bool = False) -> bytes:
    """What comes of asking for the models there, when a name leads to what was ``found``."""

    async def lookup(host: str, port: int) -> Sequence[str]:
        return found

    connector = guarded_connector(gate, lookup, keep=True)
    async with aiohttp.ClientSession() as anywhere, aiohttp.ClientSession(connector=connector) as guarded:
        account = Account(name="acme", kind="openai", base_url=url, key="k", trusted=trusted, organization="org_1")
        async with asyncio.timeout(60):
            return await Http(anywhere, guarded, gate).whole(account, Outgoing(f"{url}/models", {}, method="GET"))


@pytest.mark.parametrize("found", ["127.0.0.1", "169.254.169.254", "10.0.0.1", "::ffff:127.0.0.1", "not-an-address"])
async def test_a_name_that_leads_inward_is_not_connected_to(found: str) -> None:
    with pytest.raises(ProviderError) as caught:
        await asked(CLOSED, "https://rebound.example/v1", found)
    assert caught.value.kind in ("refused", "unavailable")
    assert found not in caught.value.detail


async def test_one_inward_address_among_public_ones_is_enough() -> None:
    with pytest.raises(ProviderError, match="does not lead to a public address"):
        await asked(CLOSED, "https://rebound.example/v1", "93.184.216.34", "127.0.0.1")


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost", "127.0.0.1."])
async def test_other_spellings_of_this_machine(host: str) -> None:
    """They are names, not addresses; what they lead to decides."""
    with pytest.raises(ProviderError) as caught:
        await asked(CLOSED, f"https://{host}/v1", "127.0.0.1")
    assert caught.value.kind == "refused"


async def test_what_was_saved_under_other_settings_is_refused_later() -> None:
    async with OpenAiFake() as server:
        with pytest.raises(ProviderError, match="its address is refused"):
            await asked(CLOSED, server.url)
        assert b"fake" in await asked(OPEN, server.url)
        assert b"fake" in await asked(CLOSED, server.url, trusted=True)


def test_the_ports_of_the_mesh_are_refused_on_any_address_of_this_machine() -> None:
    address = address_of("127.0.0.1")
    assert address is not None
    assert not OPEN.allows(address, 3502)
    assert OPEN.allows(address, 11434)
