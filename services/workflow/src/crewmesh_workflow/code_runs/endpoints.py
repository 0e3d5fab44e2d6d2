"""``POST /internal/code-runs``: the contract ``RUN_CODE``."""

from __future__ import annotations

from typing import Annotated

from crewmesh_contracts.invocations import RUN_CODE, CodeRun, CodeRunResult
from crewmesh_kit.app import provided
from crewmesh_kit.identity import Identity, requires
from fastapi import APIRouter

from crewmesh_workflow.sandbox.model import CodeRequest
from crewmesh_workflow.sandbox.service import Sandbox

router = APIRouter()


@router.post(RUN_CODE.path)
async def run_code(
    request: CodeRun,
    _: Annotated[Identity, requires(RUN_CODE.permission)],
    sandbox: Annotated[Sandbox, provided(Sandbox)],
) -> CodeRunResult:
    done = await sandbox.run(CodeRequest.model_validate(request.model_dump()))
    return CodeRunResult(result=done.result, printed=done.printed)
