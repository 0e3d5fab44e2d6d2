"""``POST /internal/agent``: the contract ``ASK_AGENT``."""

from __future__ import annotations

from typing import Annotated

from crewmesh_contracts.invocations import ASK_AGENT, AgentRequest, AgentResult
from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import IdempotencyKey
from crewmesh_kit.errors import InvalidRequest
from crewmesh_kit.identity import Identity, requires
from fastapi import APIRouter

from crewmesh_agent_crew.agents.asking import AgentService

router = APIRouter(tags=["agents"])


@router.post(ASK_AGENT.path)
async def ask_agent(
    request: AgentRequest,
    identity: Annotated[Identity, requires(ASK_AGENT.permission)],
    agents: Annotated[AgentService, provided(AgentService)],
    key: IdempotencyKey,
) -> AgentResult:
    if key is None:
        raise InvalidRequest("Send the header Idempotency-Key: an agent costs tokens, and a retry must not pay again.")
    return await agents.ask(identity, key, request)
