"""What of tools ends the work. All else is told to the model in words, and the work goes on."""

from __future__ import annotations

from crewmesh_kit.errors import Unavailable


class ToolsUnavailable(Unavailable):
    """What an agent's tools are cannot be found out right now. The work is taken up again in a while."""

    slug, title = "tools-unavailable", "Tools unavailable"
