"""``/`` says where things are, ``/openapi.json`` what there is, ``/docs`` the same for people."""

from __future__ import annotations

from typing import Annotated

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.app import provided
from crewmesh_kit.identity import public
from fastapi import APIRouter
from starlette.responses import HTMLResponse, JSONResponse, Response

from crewmesh_gateway.openapi.page import CONTENT_SECURITY_POLICY, page
from crewmesh_gateway.openapi.service import PublicApi
from crewmesh_gateway.proxy.routing import OWN_RESOURCES, OWNERS

router = APIRouter(include_in_schema=False, dependencies=[public()])
_NO_GUESSING = {"X-Content-Type-Options": "nosniff"}


@router.get("/")
async def welcome() -> JsonObject:
    return {
        "name": "Crewmesh",
        "api": [f"/v1/{resource}" for resource in sorted([*OWNERS, *OWN_RESOURCES])],
        "description": "/openapi.json",
        "documentation": "/docs",
        "who_am_i": "/v1/me",
        "authentication": "Authorization: Bearer cm_live_…",
    }


@router.get("/openapi.json")
async def openapi(api: Annotated[PublicApi, provided(PublicApi)]) -> Response:
    return JSONResponse(await api.document(), headers=_NO_GUESSING)


@router.get("/docs")
async def docs(api: Annotated[PublicApi, provided(PublicApi)]) -> Response:
    return HTMLResponse(
        page(await api.document()), headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY, **_NO_GUESSING}
    )
