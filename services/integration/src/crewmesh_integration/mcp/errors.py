"""How the use of an MCP server fails before anything is done."""

from __future__ import annotations

from crewmesh_kit.errors import NotFound


class UnknownMcpServer(NotFound):
    """There is no MCP server of that name: none can be registered yet. Take the tool out of the agent's definition."""

    slug, title = "unknown-mcp-server", "Unknown MCP server"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"There is no MCP server {name!r}, and none can be registered yet. Use a tool of kind http or action."
        )
