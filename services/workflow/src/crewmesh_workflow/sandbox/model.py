"""What the sandbox is asked, and what it answers."""

from __future__ import annotations

from typing import Literal

from crewmesh_contracts.base import Contract, JsonValue
from crewmesh_contracts.workflow.nodes.code import CodeOutput


class CodeRequest(Contract):
    """``inputs`` are the variables that the code begins with."""

    language: Literal["python", "javascript"]
    source: str
    inputs: dict[str, JsonValue] = {}
    timeout_seconds: float
    memory_mib: int


CodeResult = CodeOutput
