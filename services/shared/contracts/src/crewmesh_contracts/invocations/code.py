"""Running a little code where it can reach nothing, in the sandbox of the workflow service."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from crewmesh_contracts.base import Contract, JsonValue, Reply
from crewmesh_contracts.invocations.base import Invocation


class CodeRun(Contract):
    """``inputs`` are the code's variables."""

    language: Literal["python", "javascript"] = "python"
    source: Annotated[str, Field(min_length=1, max_length=50_000)]
    inputs: dict[str, JsonValue] = {}
    timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 5.0
    memory_mib: Annotated[int, Field(ge=1, le=256)] = 64


class CodeRunResult(Reply):
    """``result``: the value of the last expression. ``printed``: what the code printed."""

    result: JsonValue
    printed: str


# It changes nothing, so that it needs no key: code that was run is run again.
RUN_CODE = Invocation(
    app="workflow",
    path="/internal/code-runs",
    permission="code:run",
    request=CodeRun,
    result=CodeRunResult,
    callers=("agent-crew",),
    effect=False,
)
