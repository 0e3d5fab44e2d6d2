"""``GET /v1/me``: the first thing to try with a key."""

from __future__ import annotations

from typing import Annotated

from crewmesh_kit.app import provided
from fastapi import APIRouter

from crewmesh_gateway.api_keys.authenticator import AnyKey
from crewmesh_gateway.me.repository import MeRepository
from crewmesh_gateway.me.schemas import Me

router = APIRouter(prefix="/v1", tags=["me"])


@router.get("/me", summary="Who this API key speaks for")
async def me(key: AnyKey, repository: Annotated[MeRepository, provided(MeRepository)]) -> Me:
    return await repository.of(key)
