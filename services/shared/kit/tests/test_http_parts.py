"""Pages, ETags and event streams."""

import asyncio
import base64
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Annotated, cast

import pytest
from crewmesh_kit.app import Service, provided
from crewmesh_kit.errors import InvalidRequest, PreconditionFailed, PreconditionRequired
from crewmesh_kit.health import Lifecycle
from crewmesh_kit.http.etags import check_match, etag_of, is_current, require_match
from crewmesh_kit.http.pagination import Page, PageQuery, PageRequest, decode_cursor, encode_cursor
from crewmesh_kit.http.sse import EventStream, encoded
from crewmesh_kit.identity import public
from crewmesh_kit.settings import ServiceSettings
from crewmesh_testkit.fake_sidecar import FakeSidecar
from crewmesh_testkit.services import running
from fastapi import APIRouter


class TestCursors:
    def test_a_cursor_brings_its_key_back(self) -> None:
        assert decode_cursor(encode_cursor("2026-11-21T10:00:00Z", 7), str, int) == ("2026-11-21T10:00:00Z", 7)

    @pytest.mark.parametrize(
        "cursor",
        ["", "x", "%%%", "é", "A" * 500, "W10", encode_cursor(1), encode_cursor("a", "b"), encode_cursor("a", 1, 2),
         encode_cursor("a\0", 1), encode_cursor("\ud800", 1), base64.urlsafe_b64encode(b"[" * 300).decode(),
         encode_cursor("a", True)],
    )  # fmt: skip
    def test_what_this_list_did_not_give_out_is_refused(self, cursor: str) -> None:
        with pytest.raises(InvalidRequest, match="cursor"):
            decode_cursor(cursor, str, int)

    def test_one_item_too_many_means_there_is_more(self) -> None:
        key: Callable[[int], tuple[str | int, ...]] = lambda item: (item,)  # noqa: E731  needs its type told
        page = PageRequest(limit=2, cursor=None).page([1, 2, 3], key)
        assert page.items == (1, 2)
        following = PageRequest(limit=2, cursor=page.next_cursor)
        assert following.after(int) == (2,)
        assert following.page([3], key).next_cursor is None
        assert following.page([3, 4], key).next_cursor is None
        assert PageRequest(limit=2, cursor=None).after(int) is None


class TestETags:
    def test_a_change_needs_the_version_it_is_meant_for(self) -> None:
        require_match('"3"', 3)
        require_match('"2", "3"', 3)
        require_match("*", 3)
        with pytest.raises(PreconditionRequired):
            require_match(None, 3)
        for other in ('"2"', 'W/"3"', "3", ""):
            with pytest.raises(PreconditionFailed, match='"3"'):
                require_match(other, 3)

    def test_a_change_may_leave_the_version_open(self) -> None:
        check_match(None, 3)
        with pytest.raises(PreconditionFailed):
            check_match('"2"', 3)

    def test_a_reader_that_is_current_needs_nothing(self) -> None:
        assert etag_of(3) == '"3"'
        assert is_current('"1", W/"3"', 3)
        assert is_current("*", 3)
        assert not is_current('"2"', 3)
        assert not is_current(None, 3)


async def counting() -> AsyncGenerator[bytes]:
    for number in range(3):
        yield encoded(str(number), "number", {"is": number})


async def pieces_of(stream: EventStream) -> list[bytes]:
    return [piece async for piece in cast("AsyncIterator[bytes]", stream.body_iterator)]


class TestStreams:
    async def test_a_stream_ends_with_its_source(self) -> None:
        pieces = await pieces_of(EventStream(counting(), Lifecycle()))
        assert pieces == [b'id: %d\nevent: number\ndata: {"is":%d}\n\n' % (n, n) for n in range(3)]

    async def test_a_stream_ends_when_the_service_stops_and_its_source_is_told(self) -> None:
        lifecycle, told = Lifecycle(), asyncio.Event()

        async def endless() -> AsyncGenerator[bytes]:
            try:
                yield b"0"
                lifecycle.stop()
                await asyncio.Event().wait()
            finally:
                told.set()

        assert await asyncio.wait_for(pieces_of(EventStream(endless(), lifecycle)), 60) == [b"0"]
        assert told.is_set()

    async def test_a_silent_stream_shows_that_it_lives(self) -> None:
        heard = asyncio.Event()

        async def silent() -> AsyncGenerator[bytes]:
            yield b"0"
            await heard.wait()
            yield b"1"

        pieces: list[bytes] = []
        async with asyncio.timeout(60):
            stream = EventStream(silent(), Lifecycle(), heartbeat_seconds=0.05)
            async for piece in cast("AsyncIterator[bytes]", stream.body_iterator):
                pieces.append(piece)
                if pieces.count(b": still here\n\n") == 2:
                    heard.set()
        assert (pieces[0], pieces[-1]) == (b"0", b"1")
        assert set(pieces[1:-1]) == {b": still here\n\n"}

    async def test_an_error_of_the_source_arrives(self) -> None:
        async def failing() -> AsyncGenerator[bytes]:
            yield b"0"
            raise RuntimeError("broken")

        with pytest.raises(RuntimeError, match="broken"):
            await pieces_of(EventStream(failing(), Lifecycle()))


def service() -> Service:
    router = APIRouter(prefix="/v1/numbers", dependencies=[public()])

    @router.get("/stream", response_class=EventStream)
    async def stream(lifecycle: Annotated[Lifecycle, provided(Lifecycle)]) -> EventStream:
        return EventStream(counting(), lifecycle)

    @router.get("")
    async def listed(page: PageQuery) -> Page[int]:
        start = page.after(int) or (0,)
        return page.page(range(int(start[0]), 120)[: page.limit + 1], lambda item: (item + 1,))

    _ = (stream, listed)
    made = Service("knowledge", ServiceSettings(), title="N", version="1", sidecar=FakeSidecar("knowledge"))
    made.routes(router)
    return made


class TestOverHttp:
    async def test_a_stream_is_server_sent_events(self) -> None:
        async with running(service().app) as client:
            answer = await client.get("/v1/numbers/stream")
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.text.split("\n\n")[1] == 'id: 1\nevent: number\ndata: {"is":1}'

    async def test_a_list_is_walked_page_by_page(self) -> None:
        async with running(service().app) as client:
            seen: list[int] = []
            cursor: str | None = None
            while True:
                page = Page[int].model_validate(
                    (await client.get("/v1/numbers", params={"cursor": cursor} if cursor else {})).json()
                )
                seen += page.items
                cursor = page.next_cursor
                if cursor is None:
                    break
            assert seen == list(range(120))

    @pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "cursor=x", "cursor=" + "a" * 501])
    async def test_a_wrong_page_request_is_refused(self, query: str) -> None:
        async with running(service().app) as client:
            answer = await client.get(f"/v1/numbers?{query}")
            assert (answer.status_code, answer.json()["type"].rsplit("/", 1)[1]) == (400, "invalid-request")
