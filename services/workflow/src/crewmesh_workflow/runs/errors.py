"""What can be wrong with asking for a run, or for something to be done with one.

::

    NotFound            Conflict                   ValidationFailed
    ├── UnknownRun      ├── RunHasEnded            └── UnknownVariable
    └── UnknownStep     ├── RunIsLive
                        ├── CannotBeDone
                        └── CannotGoOnFrom
"""

from __future__ import annotations

from crewmesh_kit.errors import Conflict, NotFound, ValidationFailed


class UnknownRun(NotFound):
    """The organization has no run with this id. GET /v1/runs lists those there are."""

    slug, title = "unknown-run", "Unknown run"

    def __init__(self, run: str) -> None:
        super().__init__(f"There is no run {run} in this organization; GET /v1/runs lists all.")


class UnknownStep(NotFound):
    """The run has no step at this path, or has not got there yet. GET /v1/runs/{run}/steps lists those there are."""

    slug, title = "unknown-step", "Unknown step"

    def __init__(self, path: str) -> None:
        super().__init__(f"There is no step {path} in this run; GET its steps for those there are.")


class RunHasEnded(Conflict):
    """The run has ended, so nothing can be changed about it. Rerun it for a new one."""

    slug, title = "run-has-ended", "Run has ended"

    def __init__(self, run: str, status: str, verb: str) -> None:
        super().__init__(
            f"The run is {status}, so it cannot be {verb} any more. POST /v1/runs/{run}/rerun begins a new one.",
            run=run,
            run_status=status,
        )


class RunIsLive(Conflict):
    """The run has not ended; only ended runs can be purged. Cancel it first."""

    slug, title = "run-is-live", "Run is live"

    def __init__(self, run: str, status: str) -> None:
        super().__init__(
            f"The run is {status}; only a run that has ended can be deleted. POST /v1/runs/{run}/cancel first.",
            run=run,
            run_status=status,
        )


class CannotBeDone(Conflict):
    """The run is in a state in which this cannot be done to it; the detail says which."""

    slug, title = "cannot-be-done", "Cannot be done now"

    def __init__(self, run: str, status: str, verb: str) -> None:
        super().__init__(
            f"The run is {status} and cannot be {verb}. What can be done with it any time: POST /v1/runs/{run}/cancel.",
            run=run,
            run_status=status,
        )


class CannotGoOnFrom(Conflict):
    """A run cannot begin again at this step; the detail says why, and from which step it can."""

    slug, title = "cannot-go-on-from", "Cannot go on from there"

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"A run cannot begin again at {path}: {why}.", path=path)


class UnknownVariable(ValidationFailed):
    """A fork can give other values only to variables that one of the steps it takes over has set."""

    slug, title = "unknown-variable", "Unknown variable"

    def __init__(self, name: str) -> None:
        super().__init__(f"No step that the fork takes over sets the variable {name}; leave it out, or fork later.")
