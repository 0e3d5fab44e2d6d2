"""A client of the public API for tests against a whole mesh; it sends exactly what it is given, good or bad."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeAlias, cast

import aiohttp
from yarl import URL

from crewmesh_testkit.polling import until

# Answers are looked into by tests, step by step; spelling their shapes here would only repeat the contracts.
JsonDict: TypeAlias = dict[str, Any]

_JSON = {"content-type": "application/json"}
_ANSWERED_WITHIN, _STREAMED_WITHIN = 60, 900
_BACK_SECONDS = 240


@dataclass(frozen=True, slots=True)
class ApiAnswer:
    status: int
    headers: Mapping[str, str]
    body: JsonDict


@dataclass(frozen=True, slots=True)
class StreamEvent:
    id: int
    type: str
    data: JsonDict


class MeshClient:
    """``async with mesh.client() as client``."""

    def __init__(self, api_url: str, key: str | None, headers: Mapping[str, str] | None = None) -> None:
        self._api_url = api_url
        self._headers = {**({} if key is None else {"authorization": f"Bearer {key}"}), **(headers or {})}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        # Connections are not kept: a killed gateway must not fail the request after the next.
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        self._session = aiohttp.ClientSession(
            connector=connector, headers=self._headers, timeout=aiohttp.ClientTimeout(total=_ANSWERED_WITHIN)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def request(
        self, method: str, path: str, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> ApiAnswer:
        """The path goes out as it is written, not tidied up."""
        url = URL(self._api_url + path, encoded=True)
        async with self._opened.request(method, url, data=body, headers=headers, allow_redirects=False) as answer:
            text = await answer.read()
            headers_seen = {name.lower(): value for name, value in answer.headers.items()}
            return ApiAnswer(answer.status, headers_seen, _as_json(text))

    async def get(self, path: str) -> ApiAnswer:
        return await self.request("GET", path)

    async def post(
        self, path: str, document: Mapping[str, object], headers: Mapping[str, str] | None = None
    ) -> ApiAnswer:
        return await self.request(
            "POST", path, body=json.dumps(document).encode(), headers={**_JSON, **(headers or {})}
        )

    async def try_get(self, path: str) -> ApiAnswer | None:
        """``None`` when there was no answer at all."""
        try:
            return await self.get(path)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None

    async def read(self, path: str) -> JsonDict:
        """What is there to be read, asked for again for as long as whoever has it is away."""
        asked: list[ApiAnswer | None] = []

        async def answered() -> ApiAnswer | None:
            answer = await self.try_get(path)
            asked[:] = [answer]
            return None if answer is None or answer.status >= 500 else answer

        answer = await until(answered, seconds=_BACK_SECONDS, every=0.2, what=lambda: f"an answer of {path}: {asked}")
        assert answer.status == 200, (path, answer.status, answer.body)
        return answer.body

    async def try_post(
        self, path: str, document: Mapping[str, object], headers: Mapping[str, str] | None = None
    ) -> ApiAnswer | None:
        """``None`` when there was no answer at all."""
        try:
            return await self.post(path, document, headers)
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None

    async def events(self, run: str, *, after: int | None = None) -> AsyncIterator[StreamEvent]:
        """The run's events until it ends."""
        headers = {"last-event-id": str(after)} if after is not None else {}
        patience = aiohttp.ClientTimeout(total=_STREAMED_WITHIN)
        url = f"{self._api_url}/v1/runs/{run}/events"
        async with self._opened.get(url, headers=headers, timeout=patience) as answer:
            assert answer.status == 200, await answer.text()
            fields: dict[str, str] = {}
            async for raw in answer.content:
                line = raw.decode().rstrip("\r\n")
                if line:
                    name, _, value = line.partition(":")
                    fields[name] = value.removeprefix(" ")
                    continue
                if "data" in fields:
                    yield StreamEvent(int(fields["id"]), fields["event"], json.loads(fields["data"]))
                fields = {}

    async def wait_for_run(self, *, event_id: str, seconds: float) -> str:
        """The id of the run that the event with this id started."""
        looked_at: set[str] = set()

        async def found() -> str | None:
            listed = await self.try_get("/v1/runs?limit=200")
            runs = cast("list[JsonDict]", listed.body["items"]) if listed and listed.status == 200 else []
            for run in (str(run["id"]) for run in runs):
                if run in looked_at:
                    continue
                if (await self.read(f"/v1/runs/{run}"))["trigger"].get("id") == event_id:
                    return run
                looked_at.add(run)
            return None

        return await until(found, seconds=seconds, every=0.2, what=f"a run started by the event {event_id}")

    @property
    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise RuntimeError("use the client as a context manager")
        return self._session


def _as_json(text: bytes) -> JsonDict:
    try:
        document = cast("JsonDict | list[object]", json.loads(text))
    except ValueError:
        return {"not_json": text.decode(errors="replace")}
    return document if isinstance(document, dict) else {"items": document}
