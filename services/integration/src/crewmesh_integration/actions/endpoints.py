"""``POST /internal/actions``: the contract ``RUN_ACTION``."""

from __future__ import annotations

from typing import Annotated

from crewmesh_contracts.invocations import RUN_ACTION, ActionRequest, ActionResult
from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import NeededIdempotencyKey
from crewmesh_kit.identity import Identity, requires
from fastapi import APIRouter

from crewmesh_integration.actions.service import Actions

router = APIRouter()


@router.post(RUN_ACTION.path)
async def run_action(
    request: ActionRequest,
    identity: Annotated[Identity, requires(RUN_ACTION.permission)],
    key: NeededIdempotencyKey,
    actions: Annotated[Actions, provided(Actions)],
) -> ActionResult:
    return await actions.run(identity, key, request)
