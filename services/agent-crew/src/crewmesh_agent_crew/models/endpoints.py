"""``POST /internal/model``: the contract ``ASK_MODEL``."""

from __future__ import annotations

from typing import Annotated

from crewmesh_contracts.invocations import ASK_MODEL, ModelAnswer, ModelRequest
from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import NeededIdempotencyKey
from crewmesh_kit.identity import Identity, requires
from fastapi import APIRouter

from crewmesh_agent_crew.models.service import ModelService

router = APIRouter(tags=["models"])


@router.post(ASK_MODEL.path)
async def ask_model(
    request: ModelRequest,
    identity: Annotated[Identity, requires(ASK_MODEL.permission)],
    models: Annotated[ModelService, provided(ModelService)],
    key: NeededIdempotencyKey,
) -> ModelAnswer:
    return await models.ask(identity, key, request)
