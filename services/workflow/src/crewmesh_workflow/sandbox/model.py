"""What the sandbox is asked, and what it answers."""

from __future__ import annotations

from typing import Annotated, Literal

from crewmesh_contracts.base import Contract, JsonValue, Reply
from crewmesh_contracts.workflow.nodes.code import CodeOutput
from pydantic import Field

from crewmesh_workflow.sandbox.sizes import LONGEST_MESSAGE, MOST_PRINTED


class CodeRequest(Contract):
    """``inputs`` are the variables that the code begins with."""

    language: Literal["python", "javascript"]
    source: str
    inputs: dict[str, JsonValue] = {}
    timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 5.0
    memory_mib: Annotated[int, Field(ge=1, le=256)] = 64


CodeResult = CodeOutput


class Failure(Reply):
    """``kind``: the code is wrong, took too long, or needed too much memory."""

    kind: Literal["failed", "time", "memory"] = "failed"
    message: Annotated[str, Field(max_length=LONGEST_MESSAGE)] = ""
    line: int | None = None


class Answer(Reply):
    """What a worker says of one request; a result unless there is a failure."""

    result: JsonValue = None
    printed: Annotated[str, Field(max_length=MOST_PRINTED)] = ""
    failure: Failure | None = None
