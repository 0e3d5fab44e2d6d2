"""The tools that an agent's definition grants it: its allowlist."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from crewmesh_contracts.base import Contract, JsonObject
from crewmesh_contracts.ids import Slug
from pydantic import Field

from crewmesh_agent_crew.models.calls import ToolName

# never: it may be used freely; single: a person agrees once per run; always: to every use; policy: as policies say.
Approval: TypeAlias = Literal["never", "single", "always", "policy"]


class Grant(Contract):
    """``private``: what it gives is private data. Left out, it is as its kind: all are private but the web and code."""

    name: ToolName
    description: Annotated[str, Field(max_length=1_000)] = ""
    approval: Approval = "policy"
    private: bool | None = None


class HttpGrant(Grant):
    """Requests to one site, below ``url``, with these methods."""

    kind: Literal["http"]
    url: Annotated[str, Field(pattern=r"^https?://[^\s{}]+$", max_length=2_000)]
    methods: Annotated[tuple[Literal["GET", "POST", "PUT", "PATCH", "DELETE"], ...], Field(min_length=1)] = ("GET",)


class KnowledgeGrant(Grant):
    """Searching one knowledge base."""

    kind: Literal["knowledge"]
    knowledge_base: Slug
    limit: Annotated[int, Field(ge=1, le=20)] = 4


class CodeGrant(Grant):
    """Running Python in the sandbox: no network, no files."""

    kind: Literal["code"]
    seconds: Annotated[float, Field(gt=0, le=60)] = 5.0


class ActionGrant(Grant):
    """One action of a connection to another product."""

    kind: Literal["action"]
    connection: Slug
    action: Annotated[str, Field(min_length=3, max_length=129)]
    parameters: Annotated[JsonObject, Field(description="JSON Schema of the inputs the agent fills in.")] = {
        "type": "object"
    }
    inputs: Annotated[JsonObject, Field(description="Inputs that are fixed, and that the agent cannot change.")] = {}


class McpGrant(Grant):
    """One tool of a registered MCP server."""

    kind: Literal["mcp"]
    server: Slug
    tool: Annotated[str, Field(min_length=1, max_length=200)]


ToolGrant = Annotated[HttpGrant | KnowledgeGrant | CodeGrant | ActionGrant | McpGrant, Field(discriminator="kind")]
