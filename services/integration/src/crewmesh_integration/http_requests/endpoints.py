"""``POST /internal/http-requests``: the contract ``SEND_HTTP``."""

from __future__ import annotations

from typing import Annotated

from crewmesh_contracts.invocations import SEND_HTTP, HttpReply, HttpSend
from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import NeededIdempotencyKey
from crewmesh_kit.identity import Identity, requires
from fastapi import APIRouter

from crewmesh_integration.http_requests.service import HttpRequests

router = APIRouter()


@router.post(SEND_HTTP.path)
async def send_http_request(
    request: HttpSend,
    identity: Annotated[Identity, requires(SEND_HTTP.permission)],
    key: NeededIdempotencyKey,
    http_requests: Annotated[HttpRequests, provided(HttpRequests)],
) -> HttpReply:
    return await http_requests.send(identity, key, request)
