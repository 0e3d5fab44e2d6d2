"""What the guarded client sends, and to whom: names, addresses, certificates."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from crewmesh_integration.guard.errors import DestinationRefused, UpstreamRedirected, UpstreamUnreachable
from crewmesh_integration.guard.policy import OutboundPolicy
from crewmesh_kit.outbound.addresses import Address
from crewmesh_kit.outbound.targets import Target
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from .sites import Names, client, ok, request, site, to


async def test_sends_and_returns() -> None:
    async with site({"/hook": ok}) as there, client() as out:
        answer = await out.send(request(there.url("/hook?x=1"), headers={"X-Mine": "1"}))
    assert (answer.status, answer.body, answer.note, answer.redirects) == (200, b'{"ok": true}', None, 0)
    method, path, headers, body = there.seen[0]
    assert (method, path, body) == ("POST", "/hook", b"{}")
    assert headers["x-mine"] == "1"
    assert headers["host"] == f"127.0.0.1:{there.port}"
    assert headers["webhook-signature"] == "v1,over-2-bytes"
    assert headers["user-agent"] == "Crewmesh-Test"


async def test_cookies_are_not_kept() -> None:
    async def set_cookie(_: web.Request) -> web.Response:
        return web.Response(headers={"Set-Cookie": "session=1; Path=/"})

    names = Names({"shop.test": [["127.0.0.1"]]})
    async with site({"/": set_cookie}) as there, client(names) as out:
        for _ in range(2):
            await out.send(request(there.url("/", "shop.test")))
    assert all("cookie" not in headers for _, _, headers, _ in there.seen)


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with site({"/hook": ok}) as there, client() as out:
        assert (await out.send(request(there.url("/hook")))).status == 200


def _closed(*ports: int) -> OutboundPolicy:
    return OutboundPolicy(allow_loopback=True, mesh_ports=frozenset(ports))


class TestNames:
    async def test_the_name_stays_in_the_host_header(self) -> None:
        names = Names({"receiver.test": [["127.0.0.1"]]})
        async with site({"/hook": ok}) as there, client(names) as out:
            await out.send(request(there.url("/hook", "receiver.test")))
        assert there.seen[0][2]["host"] == f"receiver.test:{there.port}"

    async def test_rebinding_finds_no_second_look_up(self) -> None:
        names = Names({"rebind.test": [["127.0.0.1"], ["169.254.169.254"]]})
        async with site({"/hook": ok}) as there, client(names) as out:
            assert (await out.send(request(there.url("/hook", "rebind.test")))).status == 200
            assert names.asked == ["rebind.test"]
            with pytest.raises(DestinationRefused):
                await out.send(request(there.url("/hook", "rebind.test")))
        assert len(there.seen) == 1

    @pytest.mark.parametrize("inner", ["10.0.0.1", "169.254.169.254", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "0.0.0.0"])
    async def test_one_inner_address_among_others_is_enough_to_refuse(self, inner: str) -> None:
        names = Names({"mixed.test": [["127.0.0.1", inner]]})
        async with site({"/hook": ok}) as there, client(names) as out:
            with pytest.raises(DestinationRefused):
                await out.send(request(there.url("/hook", "mixed.test")))
        assert there.seen == []

    @pytest.mark.parametrize("answer", [["fe80::1%eth0"], ["not an address"], []])
    async def test_odd_answers_are_failures(self, answer: Sequence[str]) -> None:
        async with client(Names({"odd.test": [answer]})) as out:
            with pytest.raises(UpstreamUnreachable) as failed:
                await out.send(request("http://odd.test/"))
        assert failed.value.extensions["sent"] is False

    async def test_an_unknown_name_may_be_tried_again(self) -> None:
        async with client() as out:
            with pytest.raises(UpstreamUnreachable, match="looked up") as failed:
                await out.send(request("http://nobody.test/"))
        assert failed.value.retryable

    async def test_the_port_of_the_mesh_is_refused_by_name_too(self) -> None:
        names = Names({"sidecar.test": [["127.0.0.1"]]})
        async with site({"/v1.0/metadata": ok}) as there, client(names, policy=_closed(there.port)) as out:
            for host in ("sidecar.test", "localhost", "127.0.0.1"):
                names.answers["localhost"] = [["127.0.0.1"]]
                with pytest.raises(DestinationRefused):
                    await out.send(request(there.url("/v1.0/metadata", host)))
        assert there.seen == []

    @pytest.mark.parametrize("host", ["127.0.0.1", "sidecar.test"])
    async def test_the_address_is_looked_at_once_more_before_the_connect(self, host: str) -> None:
        class Careless(OutboundPolicy):
            def check_target(self, target: Target) -> None: ...
            def check_resolved(self, host: str, address: Address, port: int) -> None: ...

        names = Names({"sidecar.test": [["127.0.0.1"]]})
        async with site({"/": ok}) as there:
            careless = Careless(allow_loopback=True, mesh_ports=frozenset({there.port}))
            async with client(names, policy=careless) as out:
                with pytest.raises(UpstreamUnreachable):
                    await out.send(request(there.url("/", host)))
        assert there.seen == []


class TestTls:
    """The certificate is checked against the name in the URL, although the connection goes to a checked address."""

    @pytest.mark.parametrize(("host", "fits"), [("receiver.test", True), ("other.test", False)])
    async def test_the_name_is_what_counts(self, host: str, fits: bool, tmp_path: Path) -> None:
        server_side, client_side = _tls_for("receiver.test", tmp_path)
        names_sent: list[str | None] = []
        server_side.sni_callback = lambda _socket, name, _context: names_sent.append(name)
        names = Names({host: [["127.0.0.1"]]})
        async with site({"/": ok}, tls=server_side) as there, client(names, tls=client_side) as out:
            asked = out.send(request(there.url("/", host).replace("http:", "https:")))
            if fits:
                assert (await asked).status == 200
            else:
                with pytest.raises(UpstreamUnreachable, match="certificate"):
                    await asked
        assert names_sent == [host]
        assert len(there.seen) == int(fits)

    async def test_a_redirect_into_the_clear_is_not_followed(self, tmp_path: Path) -> None:
        server_side, client_side = _tls_for("receiver.test", tmp_path)
        names = Names({"receiver.test": [["127.0.0.1"]]})
        downgrade = to("http://receiver.test/", 307)
        async with site({"/": downgrade}, tls=server_side) as there, client(names, tls=client_side) as out:
            with pytest.raises(UpstreamRedirected, match="https to http"):
                await out.send(request(there.url("/", "receiver.test").replace("http:", "https:")))


def _tls_for(name: str, folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A certificate for ``name`` that only the returned client trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate.public_bytes(Encoding.PEM)
    )
    server_side = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server_side.load_cert_chain(pem)
    return server_side, ssl.create_default_context(cafile=pem)
