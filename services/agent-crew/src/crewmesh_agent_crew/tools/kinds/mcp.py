"""One tool of an MCP server, described by the server and therefore not to be believed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.invocations import CALL_MCP_TOOL, McpCall, McpTool

from crewmesh_agent_crew.tools.grants import McpGrant
from crewmesh_agent_crew.tools.kinds.base import Caller, Gave, Granted, ToolKind, WhyNot, by_strangers_schema
from crewmesh_agent_crew.tools.kinds.strange_schemas import object_shown, screened

_SECONDS = 60.0
_MARGIN_SECONDS = 15.0
_LONGEST_DESCRIPTION = 500


@dataclass(frozen=True)
class McpServerTool(Granted[McpGrant]):
    """What the server says of it is read by the model before anything else, and by nobody: so it is screened."""

    listed: McpTool

    kind: ClassVar[ToolKind] = "mcp"
    described_by_strangers: ClassVar[bool] = True

    def describe(self) -> str:
        told = screened(self.listed.description, most=_LONGEST_DESCRIPTION)
        return f"Uses {self.grant.tool} of the MCP server {self.grant.server}." + (f" {told}" if told else "")

    def parameters(self) -> JsonObject:
        return object_shown(self.listed.parameters)

    async def why_not(self, arguments: JsonObject, by_schema: WhyNot) -> str | None:
        wrong = await by_strangers_schema(self.listed.parameters, arguments, by_schema)
        return wrong and (screened(wrong) or "they do not follow the parameters of the tool")

    async def run(self, caller: Caller, arguments: JsonObject, key: str) -> Gave:
        call = McpCall(server=self.grant.server, tool=self.grant.tool, arguments=arguments, timeout_seconds=_SECONDS)
        result = await caller.call(CALL_MCP_TOOL, call, key=key, seconds=_SECONDS + _MARGIN_SECONDS)
        data = "" if result.data is None else json.dumps(result.data, ensure_ascii=False)
        return Gave("\n".join(filter(None, (result.text, data))), ok=not result.failed)
