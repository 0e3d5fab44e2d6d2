"""Ending work of the agents that a step asked for."""

from __future__ import annotations

from crewmesh_contracts.invocations import STOP_THINKING, StopRequest

from crewmesh_workflow.nodes.base import EffectContext


async def stop_thinking(context: EffectContext) -> None:
    """Nobody pays for an answer that no one waits for any more."""
    await context.call(STOP_THINKING, StopRequest(key=context.key))
