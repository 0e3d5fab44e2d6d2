"""``GET /v1/me``: the first thing to try with a key."""

from __future__ import annotations

from typing import Annotated

from crewmesh_kit.app import provided
from fastapi import APIRouter

from crewmesh_gateway.me.repository import MeRepository
from crewmesh_gateway.me.schemas import Me
from crewmesh_gateway.principals.access import SignedIn

router = APIRouter(prefix="/v1", tags=["me"])


@router.get("/me", summary="Who you are: the organization, the person and the key that a request acts as")
async def me(principal: SignedIn, repository: Annotated[MeRepository, provided(MeRepository)]) -> Me:
    return await repository.of(principal)
