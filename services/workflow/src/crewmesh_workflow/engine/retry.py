"""What to do after an attempt failed: a decision from the problem, the node's wishes, and what was tried before.

Being told "still at it" costs no attempt, and neither does a mesh that restarts under us: nothing was refused, so
asking again with the same key is right, for as long as the node may take. Any other problem of a class that the node
retries costs one.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from crewmesh_contracts.workflow.nodes.base import EffectNode, ErrorClass
from crewmesh_kit.errors import OperationInProgress, Problem, RemoteProblem, Unavailable

OUTCOME_UNKNOWN = "outcome-unknown"

_BUSY_SECONDS = (0.1, 0.25, 0.5, 1.0)
# A sidecar or a service restarts within this time, however short the node's own patience is.
_RESTART_SECONDS = 60.0
_CLASSES: dict[int, ErrorClass] = {408: "timeout", 504: "timeout", 429: "rate_limited", 502: "unavailable"}


@dataclass(frozen=True, slots=True)
class AskAgain:
    """The same attempt goes on after a short pause."""

    seconds: float


@dataclass(frozen=True, slots=True)
class TryAgain:
    """The next attempt follows after the back-off."""

    seconds: float


@dataclass(frozen=True, slots=True)
class AskPeople:
    """Nobody knows whether the attempt took effect."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No further attempt can help."""


def after_failure(
    problem: Problem, node: EffectNode, *, attempt: int, asked: int, waited: float
) -> AskAgain | TryAgain | AskPeople | GiveUp:
    """``asked`` and ``waited``: how often and how long this attempt was already told to wait."""
    if problem.slug == OUTCOME_UNKNOWN:
        return AskPeople()
    if _is_no_answer_yet(problem) and waited < max(node.timeout_seconds, _RESTART_SECONDS):
        return AskAgain(_BUSY_SECONDS[min(asked, len(_BUSY_SECONDS) - 1)])
    if class_of(problem) not in node.retry.on or attempt >= node.retry.attempts or _is_end_of_agents_work(problem):
        return GiveUp()
    return TryAgain(pause_before(node, attempt, at_least=_wished_pause(problem)))


def may_have_happened(problem: Problem) -> bool:
    """Whether the attempt may have taken effect, for all that this problem says.

    It has not where somebody who knows says so: whoever refuses, or who has a record of what was sent under the key and
    tells what the other side answered, or that nothing was sent. That record speaks for the earlier attempts, too.
    """
    if not problem.retryable:
        return False
    told = problem.extensions if isinstance(problem, RemoteProblem) else {}
    return "upstream_status" not in told and told.get("sent") is not False


def pause_before(node: EffectNode, attempt: int, *, at_least: float = 0.0) -> float:
    """Seconds from this failed attempt to the next: longer each time, and never the same for all."""
    retry = node.retry
    backoff = min(retry.backoff_seconds * retry.factor ** (attempt - 1), retry.longest_seconds)
    return max(backoff * (1 + retry.jitter * random.uniform(-1, 1)), min(at_least, retry.longest_seconds))


def class_of(problem: Problem) -> ErrorClass:
    """What kind of error it is. One that its author says cannot pass is the caller's, whatever its status."""
    if not problem.retryable:
        return "client_error" if problem.status < 500 else "other"
    if problem.status in _CLASSES:
        return _CLASSES[problem.status]
    if problem.status == 503:
        return "unavailable"
    return "server_error" if problem.status >= 500 else "rate_limited"


def _is_no_answer_yet(problem: Problem) -> bool:
    # An Unavailable of our own making says that the mesh was not reached; a far side's 503 is a RemoteProblem.
    return problem.slug == OperationInProgress.slug or isinstance(problem, Unavailable)


def _is_end_of_agents_work(problem: Problem) -> bool:
    """Work of agents that failed for good stays so. Done anew it would act, and ask people, a second time."""
    return not problem.retryable and "crew_run" in problem.extensions


def _wished_pause(problem: Problem) -> float:
    """Seconds of a Retry-After header, or of the member ``retry_after`` that carries one from further away."""
    wished = next((value for name, value in problem.headers.items() if name.lower() == "retry-after"), None)
    wished = wished if wished is not None else problem.extensions.get("retry_after")
    if isinstance(wished, str):
        return float(wished) if wished.isascii() and wished.isdigit() else 0.0
    return float(wished) if isinstance(wished, int | float) else 0.0
