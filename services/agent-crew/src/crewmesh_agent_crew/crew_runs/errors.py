"""How crew runs fail, beyond the ways in which models, tools and definitions do."""

from __future__ import annotations

from crewmesh_kit.errors import BadGateway, Conflict, NotFound, TooManyRequests

_RETRY_AFTER_SECONDS = 5


class CrewRunNotFound(NotFound):
    """There is no such crew run, or it may not be seen. ``GET /v1/crew-runs`` lists those there are."""

    slug, title = "crew-run-not-found", "Crew run not found"

    def __init__(self, crew_run: str) -> None:
        super().__init__(f"There is no crew run {crew_run[:100]!r}; GET /v1/crew-runs lists those there are.")


class QuestionNotFound(NotFound):
    """The crew run has not asked this. ``GET /v1/crew-runs/{id}/questions`` lists what it asked."""

    slug, title = "question-not-found", "Question not found"

    def __init__(self, question: str) -> None:
        super().__init__(f"This crew run has asked no question {question[:100]!r}; its questions list those it asked.")


class QuestionDecided(Conflict):
    """Somebody decided this before, differently. The first decision counts."""

    slug, title = "question-decided", "Question decided"


class CrewRunEnded(Conflict):
    """The crew run has ended: nothing can be decided or cancelled any more."""

    slug, title = "crew-run-ended", "Crew run ended"


class CrewFailed(BadGateway):
    """The crew ended without a result for a reason of its own. The log tells it under the trace id."""

    slug, title, retryable = "crew-failed", "Crew failed", True


class DecidedElsewhere(Conflict):
    """The crew works for a step of a run: the run's approval asks for this decision, and passes it on."""

    slug, title = "decided-elsewhere", "Decided elsewhere"

    def __init__(self, run: str) -> None:
        super().__init__(f"This work belongs to a step of {run}; decide the approval of that run in /v1/approvals.")


class CrewQueueFull(TooManyRequests):
    """As many crew runs of the organization wait to be begun as may wait. Try again when some of them have begun, or
    cancel some. Whoever runs the installation may raise CREWMESH_CREW_RUNS__MOST_QUEUED."""

    slug, title = "crew-queue-full", "Queue of crew runs full"

    def __init__(self, most: int) -> None:
        super().__init__(
            f"{most} crew runs of this organization wait to be begun, which is the limit. Try again in a while, or "
            "cancel some of those that GET /v1/crew-runs?status=queued lists.",
            headers={"Retry-After": str(_RETRY_AFTER_SECONDS)},
        )


class LeaseLostError(Exception):
    """Somebody else drives the run now, or it has ended: what was to be written is not written."""


class ServiceStopsError(Exception):
    """This replica stops and asks models nothing more; another goes on from the journal."""
