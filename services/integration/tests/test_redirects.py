"""Redirects: followed as the standard has it, checked like the first URL, and nothing confidential goes along."""

from __future__ import annotations

from dataclasses import replace

import pytest
from aiohttp import web
from crewmesh_integration.guard.errors import DestinationRefused, UpstreamRedirected
from crewmesh_integration.guard.policy import OutboundPolicy

from .sites import Handler, Names, client, ok, request, site, to


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
        policy = OutboundPolicy(allow_loopback=True, mesh_ports=frozenset({3503}))
        async with site({"/": to(location, 302)}) as there, client(names, policy=policy) as out:
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

    @pytest.mark.parametrize("status", [302, 307])
    async def test_nobody_else_is_asked_where_only_the_same_origin_may_be(self, status: int) -> None:
        async with (
            site({"/hook": ok}) as elsewhere,
            site({"/": to(elsewhere.url("/hook"), status)}) as there,
            client() as out,
        ):
            with pytest.raises(UpstreamRedirected):
                await out.send(replace(request(there.url("/")), same_origin=True))
        assert elsewhere.seen == []

    async def test_a_redirect_within_the_origin_is_followed(self) -> None:
        async with site({"/": to("/hook", 307), "/hook": ok}) as there, client() as out:
            assert (await out.send(replace(request(there.url("/")), same_origin=True))).status == 200

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
