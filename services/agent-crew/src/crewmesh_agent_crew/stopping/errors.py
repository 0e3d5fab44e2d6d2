"""What work that was stopped ends with."""

from __future__ import annotations

from crewmesh_kit.errors import Conflict


class ThinkingStopped(Conflict):
    """Somebody stopped this work, as when its run was cancelled. Its key stays stopped; ask under a new one."""

    slug, title = "stopped", "Stopped"
