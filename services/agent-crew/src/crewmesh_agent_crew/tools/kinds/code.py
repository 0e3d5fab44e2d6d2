"""Running Python where it reaches nothing."""

from __future__ import annotations

import json
from typing import ClassVar

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.invocations import RUN_CODE, CodeRun

from crewmesh_agent_crew.tools.grants import CodeGrant
from crewmesh_agent_crew.tools.kinds.base import Caller, Gave, Granted, ToolKind, object_schema

# A place in the sandbox may have to be waited for.
_MARGIN_SECONDS = 30.0


class CodeTool(Granted[CodeGrant]):
    """What it gives follows from what the model wrote, and adds nothing to what the model has seen."""

    kind: ClassVar[ToolKind] = "code"
    is_private: ClassVar[bool] = False
    untrusted: ClassVar[bool] = False
    may_reach_out: ClassVar[bool] = False

    def describe(self) -> str:
        return (
            "Runs Python in a sandbox without network, files and imports of packages. "
            "Gives the value of the last expression, and what was printed."
        )

    def parameters(self) -> JsonObject:
        source: JsonObject = {"type": "string", "minLength": 1, "maxLength": 50_000, "description": "Python source."}
        return object_schema({"source": source}, ["source"])

    async def run(self, caller: Caller, arguments: JsonObject, key: str) -> Gave:
        request = CodeRun(source=str(arguments["source"]), timeout_seconds=self.grant.seconds)
        done = await caller.call(RUN_CODE, request, key=None, seconds=self.grant.seconds + _MARGIN_SECONDS)
        result = json.dumps(done.result, ensure_ascii=False)
        return Gave(f"result: {result}" + (f"\nprinted:\n{done.printed}" if done.printed else ""))
