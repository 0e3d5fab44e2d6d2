"""One tool of an MCP server, described by the server and therefore not to be believed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import ClassVar, cast

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.invocations import CALL_MCP_TOOL, McpCall, McpTool

from crewmesh_agent_crew.guardrails.injection import suspicion
from crewmesh_agent_crew.guardrails.texts import cut, readable
from crewmesh_agent_crew.tools.grants import McpGrant
from crewmesh_agent_crew.tools.kinds.base import Caller, Gave, Granted, ToolKind, WhyNot, by_strangers_schema

_SECONDS = 60.0
_MARGIN_SECONDS = 15.0
_LONGEST_DESCRIPTION = 500
_LONGEST_WORDS = 200
_DEEPEST = 12
# Members of a JSON Schema that hold words for whoever reads it, and nothing that is checked.
_WORDS = ("title", "description", "$comment")
_LEFT_OUT = ("default", "examples")


@dataclass(frozen=True)
class McpServerTool(Granted[McpGrant]):
    """What the server says of it is read by the model before anything else, and by nobody: so it is screened."""

    listed: McpTool

    kind: ClassVar[ToolKind] = "mcp"

    def describe(self) -> str:
        told = _screened(self.listed.description, most=_LONGEST_DESCRIPTION)
        return f"Uses {self.grant.tool} of the MCP server {self.grant.server}." + (f" {told}" if told else "")

    def parameters(self) -> JsonObject:
        return cast(JsonObject, _with_screened_words(self.listed.parameters, depth=0))

    async def why_not(self, arguments: JsonObject, by_schema: WhyNot) -> str | None:
        return await by_strangers_schema(self.listed.parameters, arguments, by_schema)

    async def run(self, caller: Caller, arguments: JsonObject, key: str) -> Gave:
        call = McpCall(server=self.grant.server, tool=self.grant.tool, arguments=arguments, timeout_seconds=_SECONDS)
        result = await caller.call(CALL_MCP_TOOL, call, key=key, seconds=_SECONDS + _MARGIN_SECONDS)
        data = "" if result.data is None else json.dumps(result.data, ensure_ascii=False)
        return Gave("\n".join(filter(None, (result.text, data))), ok=not result.failed)


def _with_screened_words(schema: JsonValue, *, depth: int) -> JsonValue:
    """For the model; the arguments are checked by the schema as it came."""
    if depth > _DEEPEST:
        return {}
    if isinstance(schema, list):
        return [_with_screened_words(part, depth=depth + 1) for part in schema]
    if not isinstance(schema, dict):
        return schema
    shown: JsonObject = {}
    for name, part in schema.items():
        if name in _WORDS and isinstance(part, str):
            shown[name] = _screened(part, most=_LONGEST_WORDS)
        elif name not in _LEFT_OUT:
            shown[name] = _with_screened_words(part, depth=depth + 1)
    return shown


def _screened(words: str, *, most: int) -> str:
    text = readable(words)
    return "" if suspicion(text).suspicious else cut(" ".join(text.split()), most)
