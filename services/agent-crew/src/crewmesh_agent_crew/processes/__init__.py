"""How the agents of a crew work together: one module per process, all of them plain functions over a stage."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from crewmesh_agent_crew.crew_runs.stage import Stage
from crewmesh_agent_crew.crews.models import Process
from crewmesh_agent_crew.processes.code_review import reviewed
from crewmesh_agent_crew.processes.consensus import agreed
from crewmesh_agent_crew.processes.floor import Outcome, task_by_task
from crewmesh_agent_crew.processes.hierarchical import managed
from crewmesh_agent_crew.processes.parallel import parallel
from crewmesh_agent_crew.processes.problem_solving import solved
from crewmesh_agent_crew.processes.sequential import done
from crewmesh_agent_crew.processes.standup import stood_up

__all__ = ["Outcome", "run_process"]

_PROCESSES: dict[Process, Callable[[Stage], Awaitable[Outcome]]] = {
    "sequential": task_by_task(done),
    "parallel": parallel,
    "hierarchical": task_by_task(managed),
    "consensus": task_by_task(agreed),
    "problem-solving": task_by_task(solved),
    "code-review": task_by_task(reviewed),
    "standup": task_by_task(stood_up),
}


async def run_process(stage: Stage) -> Outcome:
    """Let the crew do its tasks, as its definition says how."""
    return await _PROCESSES[stage.crew.process](stage)
