"""What every play of a run needs of the rest of the service."""

from __future__ import annotations

from dataclasses import dataclass

from crewmesh_kit.health import Lifecycle

from crewmesh_agent_crew.live.words import Words
from crewmesh_agent_crew.memory.service import Memories
from crewmesh_agent_crew.models.thinking import Thinking
from crewmesh_agent_crew.statuses.service import Statuses
from crewmesh_agent_crew.tools.service import Tools
from crewmesh_agent_crew.turns.runner import TurnRunner


@dataclass(frozen=True, slots=True)
class Parts:
    thinking: Thinking
    turns: TurnRunner
    tools: Tools
    memories: Memories
    words: Words
    statuses: Statuses
    lifecycle: Lifecycle
