"""One action of a connection to another product."""

from __future__ import annotations

import json
from typing import ClassVar

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.invocations import RUN_ACTION, ActionRequest

from crewmesh_agent_crew.tools.grants import ActionGrant
from crewmesh_agent_crew.tools.kinds.base import Caller, Gave, Granted, ToolKind, WhyNot, by_strangers_schema

_SECONDS = 60.0
_MARGIN_SECONDS = 15.0


class ActionTool(Granted[ActionGrant]):
    kind: ClassVar[ToolKind] = "action"

    def describe(self) -> str:
        return f"Does {self.grant.action} through the connection {self.grant.connection}."

    def parameters(self) -> JsonObject:
        return self.grant.parameters

    async def why_not(self, arguments: JsonObject, by_schema: WhyNot) -> str | None:
        fixed = sorted(set(arguments) & set(self.grant.inputs))
        if fixed:
            return f"{', '.join(fixed)} is fixed, and cannot be chosen"
        return await by_strangers_schema(self.grant.parameters, arguments, by_schema)

    async def run(self, caller: Caller, arguments: JsonObject, key: str) -> Gave:
        request = ActionRequest(
            connection=self.grant.connection,
            action=self.grant.action,
            inputs={**arguments, **self.grant.inputs},
            timeout_seconds=_SECONDS,
        )
        done = await caller.call(RUN_ACTION, request, key=key, seconds=_SECONDS + _MARGIN_SECONDS)
        return Gave(json.dumps(done.result, ensure_ascii=False))
