"""The guarded client against real servers on this machine: redirects, slow, hanging, huge and lying ones."""

from __future__ import annotations

import asyncio
import gzip
import socket
import ssl
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from crewmesh_integration.guard.addresses import Address
from crewmesh_integration.guard.client import GuardedClient, OutboundAnswer, OutboundRequest
from crewmesh_integration.guard.errors import (
    DestinationRefused,
    UpstreamRedirected,
    UpstreamTimedOut,
    UpstreamUnreachable,
)
from crewmesh_integration.guard.policy import OutboundPolicy
from crewmesh_integration.guard.targets import Target, parse_target
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
LIMIT = 64 * 1024


@dataclass
class Names:
    """A name server that can change its mind: the first list of answers, then the next."""

    answers: dict[str, list[Sequence[str]]] = field(default_factory=dict[str, list[Sequence[str]]])
    asked: list[str] = field(default_factory=list[str])

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        known = self.answers.get(host)
        if not known:
            raise OSError("unknown name")
        return known.pop(0) if len(known) > 1 else known[0]


@dataclass
class Site:
    """A server on 127.0.0.1; remembers what it was sent."""

    port: int
    seen: list[tuple[str, str, Mapping[str, str], bytes]]

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"


@asynccontextmanager
async def site(routes: Mapping[str, Handler], *, tls: ssl.SSLContext | None = None) -> AsyncGenerator[Site]:
    seen: list[tuple[str, str, Mapping[str, str], bytes]] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        seen.append((request.method, request.path, headers, await request.read()))
        return await routes[request.path](request)

    server = web.AppRunner(_application(handle), shutdown_timeout=0.1)
    await server.setup()
    listener = web.TCPSite(server, "127.0.0.1", 0, ssl_context=tls)
    await listener.start()
    try:
        yield Site(server.addresses[0][1], seen)
    finally:
        await server.cleanup()


def _application(handle: Handler) -> web.Application:
    application = web.Application()
    application.router.add_route("*", "/{rest:.*}", handle)
    return application


@asynccontextmanager
async def client(
    names: Names | None = None, *, mesh_ports: frozenset[int] = frozenset()
) -> AsyncGenerator[GuardedClient]:
    opened = GuardedClient(
        OutboundPolicy(allow_loopback=True, mesh_ports=mesh_ports),
        lookup=names or Names(),
        user_agent="Crewmesh-Test",
        connect_seconds=2,
        max_body_bytes=LIMIT,
    )
    try:
        yield opened
    finally:
        await opened.close()


def request(
    url: str,
    method: str = "POST",
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = b"{}",
    timeout_seconds: float = 5,
) -> OutboundRequest:
    return OutboundRequest(
        method=method,
        target=parse_target(url),
        headers=headers or {"Content-Type": "application/json"},
        body=body,
        timeout_seconds=timeout_seconds,
        seal=lambda body: {"webhook-id": "key", "webhook-signature": f"v1,over-{len(body)}-bytes"},
    )


async def ok(_: web.Request) -> web.Response:
    return web.json_response({"ok": True})


def to(location: str, status: int) -> Handler:
    async def redirect(_: web.Request) -> web.Response:
        return web.Response(status=status, headers={"Location": location})

    return redirect


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
        async with site({"/v1.0/metadata": ok}) as there, client(names, mesh_ports=frozenset({there.port})) as out:
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

        async with site({"/": ok}) as there:
            out = GuardedClient(
                Careless(allow_loopback=True, mesh_ports=frozenset({there.port})),
                lookup=Names({"sidecar.test": [["127.0.0.1"]]}),
                user_agent="t",
                connect_seconds=2,
                max_body_bytes=LIMIT,
            )
            with pytest.raises(UpstreamUnreachable):
                await out.send(request(there.url("/", host)))
            await out.close()
        assert there.seen == []


class TestTls:
    """The certificate is checked against the name in the URL, although the connection goes to a checked address."""

    @pytest.mark.parametrize(("host", "fits"), [("receiver.test", True), ("other.test", False)])
    async def test_the_name_is_what_counts(self, host: str, fits: bool, tmp_path: Path) -> None:
        server_side, client_side = _tls_for("receiver.test", tmp_path)
        names_sent: list[str | None] = []
        server_side.sni_callback = lambda _socket, name, _context: names_sent.append(name)
        out = GuardedClient(
            OutboundPolicy(allow_loopback=True, mesh_ports=frozenset()),
            lookup=Names({host: [["127.0.0.1"]]}),
            user_agent="t",
            connect_seconds=2,
            max_body_bytes=LIMIT,
            tls=client_side,
        )
        async with site({"/": ok}, tls=server_side) as there:
            asked = out.send(request(there.url("/", host).replace("http:", "https:")))
            if fits:
                assert (await asked).status == 200
            else:
                with pytest.raises(UpstreamUnreachable, match="certificate"):
                    await asked
        await out.close()
        assert names_sent == [host]
        assert len(there.seen) == int(fits)

    async def test_a_redirect_into_the_clear_is_not_followed(self, tmp_path: Path) -> None:
        server_side, client_side = _tls_for("receiver.test", tmp_path)
        out = GuardedClient(
            OutboundPolicy(allow_loopback=True, mesh_ports=frozenset()),
            lookup=Names({"receiver.test": [["127.0.0.1"]]}),
            user_agent="t",
            connect_seconds=2,
            max_body_bytes=LIMIT,
            tls=client_side,
        )
        async with site({"/": to("http://receiver.test/", 307)}, tls=server_side) as there:
            with pytest.raises(UpstreamRedirected, match="https to http"):
                await out.send(request(there.url("/", "receiver.test").replace("http:", "https:")))
        await out.close()


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


class TestRedirects:
    @pytest.mark.parametrize(
        ("status", "method", "then"),
        [
            (301, "POST", "GET"),
            (302, "POST", "GET"),
            (302, "PUT", "PUT"),
            (303, "PUT", "GET"),
            (307, "POST", "POST"),
            (308, "PATCH", "PATCH"),
        ],
    )
    async def test_methods_follow_the_standard(self, status: int, method: str, then: str) -> None:
        async with site({"/old": to("/new", status), "/new": ok}) as there, client() as out:
            answer = await out.send(request(there.url("/old"), method))
        assert answer.redirects == 1
        arrived, _, headers, body = there.seen[1]
        assert arrived == then
        assert body == (b"" if then == "GET" else b"{}")
        assert ("content-type" in headers) == (then != "GET")
        assert headers["webhook-signature"] == f"v1,over-{len(body)}-bytes"

    async def test_nothing_confidential_goes_to_another_origin_nor_comes_back(self) -> None:
        routes: dict[str, Handler] = {"/end": ok}
        names = Names({"a.test": [["127.0.0.1"]], "b.test": [["127.0.0.1"]]})
        async with site(routes) as there, client(names) as out:
            routes["/start"] = to(there.url("/middle", "b.test"), 307)
            routes["/middle"] = to(there.url("/end", "a.test"), 307)
            secrets = {"Authorization": "Bearer canary", "X-Api-Key": "canary", "Cookie": "canary"}
            await out.send(
                request(there.url("/start", "a.test"), headers={**secrets, "Content-Type": "application/json"})
            )
        first, *later = [headers for _, _, headers, _ in there.seen]
        assert first["authorization"] == "Bearer canary"
        assert len(later) == 2
        for headers in later:
            assert "canary" not in str(headers)
            assert not any(name.startswith("webhook-") for name in headers)
            assert headers["content-type"] == "application/json"

    @pytest.mark.parametrize(
        "location",
        [
            "http://169.254.169.254/latest/meta-data/",
            "http://10.0.0.1/",
            "http://[::ffff:7f00:1]/",
            "http://inner.test/",
            "http://localhost:3503/v1.0/metadata",
            "//192.168.0.1/",
        ],
    )
    async def test_every_redirect_is_checked(self, location: str) -> None:
        names = Names({"inner.test": [["10.9.8.7"]], "localhost": [["127.0.0.1"]]})
        async with site({"/": to(location, 302)}) as there, client(names, mesh_ports=frozenset({3503})) as out:
            with pytest.raises(DestinationRefused):
                await out.send(request(there.url("/")))
        assert len(there.seen) == 1

    @pytest.mark.parametrize(
        "location", ["file:///etc/passwd", "gopher://x/", "http://2130706433/", "http://u:p@x.test/"]
    )
    async def test_redirects_are_read_as_strictly(self, location: str) -> None:
        async with site({"/": to(location, 302)}) as there, client() as out:
            with pytest.raises(UpstreamRedirected) as failed:
                await out.send(request(there.url("/")))
        assert not failed.value.retryable

    async def test_a_loop_ends(self) -> None:
        async with site({"/": to("/", 307)}) as there, client() as out:
            with pytest.raises(UpstreamRedirected):
                await out.send(request(there.url("/")))
        assert len(there.seen) == 6

    async def test_not_modified_and_a_redirect_without_a_place_are_answers(self) -> None:
        async def nowhere(_: web.Request) -> web.Response:
            return web.Response(status=302)

        async with site({"/same": to("/x", 304), "/nowhere": nowhere}) as there, client() as out:
            assert (await out.send(request(there.url("/same"), "GET", body=None))).status == 304
            assert (await out.send(request(there.url("/nowhere")))).status == 302


class TestTime:
    async def test_a_hanging_receiver(self) -> None:
        async def hang(_: web.Request) -> web.Response:
            await asyncio.Event().wait()
            raise AssertionError

        await self._times_out(hang)

    async def test_a_receiver_that_drips(self) -> None:
        async def drip(asked: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(asked)
            while True:
                await response.write(b".")
                await asyncio.sleep(0.02)

        await self._times_out(drip)

    async def test_the_limit_holds_for_all_redirects_together(self) -> None:
        async def slow(_: web.Request) -> web.Response:
            await asyncio.sleep(0.15)
            return web.Response(status=307, headers={"Location": "/"})

        await self._times_out(slow)

    async def _times_out(self, handler: Handler) -> None:
        async with site({"/": handler}) as there, client() as out:
            with pytest.raises(UpstreamTimedOut, match="may have taken effect") as failed:
                await out.send(request(there.url("/"), timeout_seconds=0.4))
        assert failed.value.retryable
        assert failed.value.extensions["sent"] is True

    async def test_a_server_that_does_not_accept(self) -> None:
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            # The queue of one takes this connection; the next waits for ever.
            with socket.create_connection(full.getsockname()):
                async with client() as out:
                    url = f"http://127.0.0.1:{full.getsockname()[1]}/"
                    with pytest.raises((UpstreamTimedOut, UpstreamUnreachable)) as failed:
                        await asyncio.gather(*(out.send(request(url, timeout_seconds=0.5)) for _ in range(4)))
        assert failed.value.retryable

    async def test_a_slow_name_server(self) -> None:
        async def slow(host: str, port: int) -> Sequence[str]:
            await asyncio.Event().wait()
            return [host, str(port)]

        out = GuardedClient(
            OutboundPolicy(allow_loopback=True, mesh_ports=frozenset()),
            lookup=slow,
            user_agent="t",
            connect_seconds=2,
            max_body_bytes=LIMIT,
        )
        with pytest.raises(UpstreamTimedOut) as failed:
            await out.send(request("http://slow.test/", timeout_seconds=0.2))
        await out.close()
        assert failed.value.extensions["sent"] is False


class TestBrokenServers:
    async def test_nobody_listens(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
            async with client() as out:
                with pytest.raises(UpstreamUnreachable) as failed:
                    await out.send(request(f"http://127.0.0.1:{port}/"))
        assert failed.value.extensions["sent"] is False

    @pytest.mark.parametrize(
        "raw",
        [
            b"",
            b"nonsense\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        ],
    )
    async def test_what_is_not_http_is_a_failure(self, raw: bytes) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(raw)
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server, client() as out:
            with pytest.raises(UpstreamUnreachable) as failed:
                await out.send(request(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/?token=canary"))
        assert failed.value.extensions["sent"] is True
        assert "canary" not in failed.value.detail


class TestSize:
    async def _get(self, handler: Handler) -> OutboundAnswer:
        async with site({"/": handler}) as there, client() as out:
            return await out.send(request(there.url("/"), "GET", body=None, timeout_seconds=20))

    async def test_a_body_that_just_fits_is_whole(self) -> None:
        async def full(_: web.Request) -> web.Response:
            return web.Response(body=b"x" * LIMIT)

        answer = await self._get(full)
        assert (len(answer.body), answer.note) == (LIMIT, None)

    async def test_an_endless_body_is_cut(self) -> None:
        async def endless(asked: web.Request) -> web.StreamResponse:
            response = web.StreamResponse()
            await response.prepare(asked)
            while True:
                await response.write(b"x" * 65_536)

        answer = await self._get(endless)
        assert (len(answer.body), answer.note) == (LIMIT, f"cut after {LIMIT} bytes")

    @pytest.mark.parametrize("encoding", ["gzip", "deflate", "raw-deflate"])
    async def test_compressed_bodies_are_read(self, encoding: str) -> None:
        answer = await self._get(_compressed(b"hello " * 1000, encoding))
        assert (answer.body, answer.note) == (b"hello " * 1000, None)

    @pytest.mark.parametrize("encoding", ["gzip", "deflate", "raw-deflate"])
    async def test_a_bomb_is_cut_while_it_unfolds(self, encoding: str) -> None:
        answer = await self._get(_compressed(bytes(50_000_000), encoding))
        assert (len(answer.body), answer.note) == (LIMIT, f"cut after {LIMIT} bytes")

    async def test_input_that_unfolds_to_nothing_is_cut(self) -> None:
        async def empty_blocks(_: web.Request) -> web.Response:
            head = zlib.compress(b"")[:2]
            return web.Response(body=head + b"\x00\x00\x00\xff\xff" * LIMIT, headers={"Content-Encoding": "deflate"})

        answer = await self._get(empty_blocks)
        assert (answer.body, answer.note) == (b"", "cut after 0 bytes")

    async def test_a_lying_encoding_does_not_undo_the_answer(self) -> None:
        async def lie(_: web.Request) -> web.Response:
            return web.Response(body=b"plain", headers={"Content-Encoding": "gzip"})

        async def early(_: web.Request) -> web.Response:
            return web.Response(body=gzip.compress(b"x" * 100)[:-9], headers={"Content-Encoding": "gzip"})

        async def brotli(_: web.Request) -> web.Response:
            return web.Response(body=b"...", headers={"Content-Encoding": "br"})

        assert (await self._get(lie)).note == "cut: the rest is not valid gzip"
        assert (await self._get(early)).note == "cut: the gzip data ends too early"
        assert "not asked for" in str((await self._get(brotli)).note)


def _compressed(content: bytes, encoding: str) -> Handler:
    if encoding == "gzip":
        packed = gzip.compress(content)
    elif encoding == "deflate":
        packed = zlib.compress(content)
    else:
        packed = zlib.compress(content)[2:-4]

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=packed, headers={"Content-Encoding": encoding.removeprefix("raw-")})

    return answer
