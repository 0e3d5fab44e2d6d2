"""How feedback and insights fail."""

from __future__ import annotations

from crewmesh_kit.errors import Conflict, NotFound


class InsightNotFound(NotFound):
    """There is no such insight. ``GET /v1/insights?about=…`` lists those of a crew or an agent."""

    slug, title = "insight-not-found", "Insight not found"

    def __init__(self, insight: str) -> None:
        super().__init__(f"There is no insight {insight[:80]!r}; GET /v1/insights?about=… lists those there are.")


class NotYetEnded(Conflict):
    """The crew run is still at work: what came of it can be judged when it has ended."""

    slug, title = "not-yet-ended", "Not yet ended"

    def __init__(self, status: str) -> None:
        super().__init__(f"This crew run is {status}. Say what you think of it when it has ended.")


class NothingToLearn(Conflict):
    """The run was of no crew or agent that is kept, so nobody could learn from it."""

    slug, title = "nothing-to-learn", "Nothing to learn"
