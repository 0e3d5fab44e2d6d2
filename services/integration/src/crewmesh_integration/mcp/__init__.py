"""The tools of MCP servers, for agents."""
