"""HTTP of memories, for other services: the contracts ``REMEMBER``, ``RECALL`` and ``FORGET``."""

from __future__ import annotations

from typing import Annotated

from crewmesh_contracts.invocations import (
    FORGET,
    RECALL,
    REMEMBER,
    ForgetRequest,
    ForgetResult,
    RecallRequest,
    RecallResult,
    RememberRequest,
    RememberResult,
)
from crewmesh_kit.app import provided
from crewmesh_kit.identity import Identity, requires
from fastapi import APIRouter

from crewmesh_knowledge.memories.service import Memories

router = APIRouter(tags=["memories"])

TheMemories = Annotated[Memories, provided(Memories)]


@router.post(REMEMBER.path)
async def remember(
    request: RememberRequest, identity: Annotated[Identity, requires(REMEMBER.permission)], memories: TheMemories
) -> RememberResult:
    return RememberResult(held=await memories.remember(identity, request))


@router.post(RECALL.path)
async def recall(
    request: RecallRequest, identity: Annotated[Identity, requires(RECALL.permission)], memories: TheMemories
) -> RecallResult:
    return await memories.recall(identity, request)


@router.post(FORGET.path)
async def forget(
    request: ForgetRequest, identity: Annotated[Identity, requires(FORGET.permission)], memories: TheMemories
) -> ForgetResult:
    return ForgetResult(forgotten=await memories.forget(identity, request))
