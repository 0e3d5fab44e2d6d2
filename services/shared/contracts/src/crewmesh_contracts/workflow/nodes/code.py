"""Run a little code in a sandbox without network, files or clock."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from crewmesh_contracts.base import JsonValue, Reply
from crewmesh_contracts.workflow.nodes.base import EffectNode


class CodeOutput(Reply):
    result: JsonValue
    printed: str


class CodeNode(EffectNode):
    """The members of ``inputs`` are the code's variables; the value of its last expression is ``result``.

    Output: ``result``, and ``printed``: what the code printed.
    """

    Output: ClassVar = CodeOutput

    kind: Literal["code"]
    language: Literal["python", "javascript"] = "python"
    source: Annotated[str, Field(min_length=1, max_length=50_000)]
    inputs: Annotated[dict[str, JsonValue], Field(description="Templates may stand anywhere.")] = {}
    memory_mib: Annotated[int, Field(ge=1, le=256)] = 64
    timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 5.0
