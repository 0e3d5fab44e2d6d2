"""What is needed for what is done with one workflow and its runs. A run is seen and steered like its workflow."""

from __future__ import annotations

from crewmesh_kit.sharing.models import Kind, Need

WORKFLOW = Kind("workflow", path="workflows", called="workflow")

SEE = Need(WORKFLOW, "view", "workflows:read", seeing="workflows:read")
CHANGE = Need(WORKFLOW, "edit", "workflows:write", seeing="workflows:read")
SEE_RUNS = Need(WORKFLOW, "view", "runs:read", seeing="runs:read")
# To start runs, and to do something with those there are.
RUN = Need(WORKFLOW, "run", "runs:write", seeing="runs:read")
