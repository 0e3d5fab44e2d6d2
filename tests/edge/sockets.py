"""WebSocket upgrades through the test edge: both ends speak to each other, frame by frame."""

from __future__ import annotations

import asyncio

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL


async def bridged(
    session: aiohttp.ClientSession, request: web.BaseRequest, url: URL, headers: CIMultiDict[str]
) -> web.WebSocketResponse | None:
    """``None`` when whoever is behind does not take the upgrade; then it is a request like others."""
    try:
        behind = await session.ws_connect(url, headers=headers)
    except aiohttp.WSServerHandshakeError:
        return None
    async with behind:
        front = web.WebSocketResponse()
        await front.prepare(request)
        pumps = [asyncio.create_task(_pump(behind, front)), asyncio.create_task(_pump(front, behind))]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        await front.close()
        return front


async def _pump(
    source: aiohttp.ClientWebSocketResponse | web.WebSocketResponse,
    sink: aiohttp.ClientWebSocketResponse | web.WebSocketResponse,
) -> None:
    async for message in source:
        if message.type is aiohttp.WSMsgType.TEXT:
            await sink.send_str(str(message.data))
        elif message.type is aiohttp.WSMsgType.BINARY:
            await sink.send_bytes(bytes(message.data))
