"""``POST /internal/kickoff`` and ``POST /internal/agent``: the contracts ``KICKOFF`` and ``ASK_AGENT``."""

from __future__ import annotations

from typing import Annotated

from crewmesh_contracts.invocations import (
    ASK_AGENT,
    KICKOFF,
    AgentProgress,
    AgentRequest,
    KickoffProgress,
    KickoffRequest,
)
from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import NeededIdempotencyKey
from crewmesh_kit.identity import Identity, requires
from fastapi import APIRouter

from crewmesh_agent_crew.crew_runs.asking import Asking

router = APIRouter(tags=["crew-runs"])

Asked = Annotated[Asking, provided(Asking)]


@router.post(KICKOFF.path)
async def kickoff(
    request: KickoffRequest,
    identity: Annotated[Identity, requires(KICKOFF.permission)],
    asking: Asked,
    key: NeededIdempotencyKey,
) -> KickoffProgress:
    return await asking.kickoff(identity, key, request)


@router.post(ASK_AGENT.path)
async def ask_agent(
    request: AgentRequest,
    identity: Annotated[Identity, requires(ASK_AGENT.permission)],
    asking: Asked,
    key: NeededIdempotencyKey,
) -> AgentProgress:
    return await asking.ask_agent(identity, key, request)
