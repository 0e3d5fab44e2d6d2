"""Programs that check what the project deploys: promtool and two of our own, pinned in tools/checkers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from crewmesh_tools.go_programs import Pinned, ensure_built

CHECKERS = Pinned(
    Path(__file__).resolve().parents[2] / "checkers",
    packages=("tool", "./..."),
    # Of the many ways in which Prometheus finds targets only one is configured here; the others would be most of the
    # build.
    tags="remove_all_sd,enable_kubernetes_sd",
)


def ensure_checkers(*, say: Callable[[str], object] = print) -> Path:
    """The folder with the programs."""
    return ensure_built(CHECKERS, say=say)
