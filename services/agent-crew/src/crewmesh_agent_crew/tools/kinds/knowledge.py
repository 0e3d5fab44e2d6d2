"""Searching one knowledge base. What is found was written by whoever uploaded it."""

from __future__ import annotations

from typing import ClassVar

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.invocations import SEARCH, SearchRequest

from crewmesh_agent_crew.tools.grants import KnowledgeGrant
from crewmesh_agent_crew.tools.kinds.base import Caller, Gave, Granted, ToolKind, object_schema

_SECONDS = 30.0


class KnowledgeTool(Granted[KnowledgeGrant]):
    kind: ClassVar[ToolKind] = "knowledge"
    may_reach_out: ClassVar[bool] = False

    def describe(self) -> str:
        return f"Searches the knowledge base {self.grant.knowledge_base} and gives the passages that fit best."

    def parameters(self) -> JsonObject:
        query: JsonObject = {
            "type": "string",
            "minLength": 1,
            "maxLength": 4_000,
            "description": "What is looked for, in words.",
        }
        return object_schema({"query": query}, ["query"])

    async def run(self, caller: Caller, arguments: JsonObject, key: str) -> Gave:
        request = SearchRequest(
            knowledge_base=self.grant.knowledge_base, query=str(arguments["query"]), limit=self.grant.limit
        )
        found = await caller.call(SEARCH, request, key=None, seconds=_SECONDS)
        if not found.hits:
            return Gave("Nothing was found.")
        return Gave("\n\n".join(f"[{n}] {hit.title}\n{hit.text}" for n, hit in enumerate(found.hits, start=1)))
