"""What to do after an attempt failed: a pure decision.

Being told "still at it" costs no attempt, and neither does a mesh that restarts under us: nothing was refused, so
asking again with the same key is right, for as long as the node may take. Any other retryable problem costs one.
"""

from __future__ import annotations

from dataclasses import dataclass

from crewmesh_contracts.workflow.nodes.base import EffectNode
from crewmesh_kit.errors import OperationInProgress, Problem, Unavailable

_LONGEST_BACKOFF_SECONDS = 3_600.0
_BUSY_SECONDS = (0.1, 0.25, 0.5, 1.0)
# A sidecar or a service restarts within this time, however short the node's own patience is.
_RESTART_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class AskAgain:
    """The same attempt goes on after a short pause."""

    seconds: float


@dataclass(frozen=True, slots=True)
class TryAgain:
    """The next attempt follows after the back-off."""

    seconds: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No further attempt can help."""


def after_failure(
    problem: Problem, node: EffectNode, *, attempt: int, asked: int, waited: float
) -> AskAgain | TryAgain | GiveUp:
    """``asked`` and ``waited``: how often and how long this attempt was already told to wait."""
    if _is_no_answer_yet(problem) and waited < max(node.timeout_seconds, _RESTART_SECONDS):
        return AskAgain(_BUSY_SECONDS[min(asked, len(_BUSY_SECONDS) - 1)])
    if not problem.retryable or attempt >= node.retry.attempts:
        return GiveUp()
    backoff = node.retry.backoff_seconds * 2 ** (attempt - 1)
    return TryAgain(min(max(backoff, _wished_pause(problem)), _LONGEST_BACKOFF_SECONDS))


def _is_no_answer_yet(problem: Problem) -> bool:
    # An Unavailable of our own making says that the mesh was not reached; a far side's 503 is a RemoteProblem.
    return problem.slug == OperationInProgress.slug or isinstance(problem, Unavailable)


def _wished_pause(problem: Problem) -> float:
    """Seconds of a Retry-After header, or of the member ``retry_after`` that carries one from further away."""
    wished = next((value for name, value in problem.headers.items() if name.lower() == "retry-after"), None)
    wished = wished if wished is not None else problem.extensions.get("retry_after")
    if isinstance(wished, str):
        return float(wished) if wished.isascii() and wished.isdigit() else 0.0
    return float(wished) if isinstance(wished, int | float) else 0.0
