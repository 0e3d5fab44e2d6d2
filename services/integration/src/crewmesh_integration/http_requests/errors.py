"""What the other side answered, where that is not a success.

::

    Problem
    ├── OutcomeUnknown 409          nobody knows whether it took effect, and it must not be sent twice
    ├── UpstreamRefused 424         it will not take this request: 4xx
    └── UpstreamUnavailable 502     it may take it later: 5xx, 408, 425, 429 (retryable)
"""

from __future__ import annotations

from crewmesh_contracts.base import JsonValue
from crewmesh_kit.errors import Conflict, Problem


class OutcomeUnknown(Conflict):
    """The request may have taken effect, and must not be sent twice. Look at the other side; then use a new key."""

    slug, title = "outcome-unknown", "Outcome unknown"

    def __init__(self, why: str, **known: JsonValue) -> None:
        super().__init__(
            f"{why} The request may have taken effect and is not repeatable, so it was not sent again. Find out at the "
            "other side; if nothing happened there, send it under a new Idempotency-Key.",
            headers=None,
            **known,
        )


class UpstreamRefused(Problem):
    """The other side refuses this request (4xx): sending it again will not help. ``upstream_status`` is its answer."""

    status, slug, title = 424, "upstream-refused", "Upstream refused"

    def __init__(self, detail: str, *, upstream_status: int, upstream_said: str) -> None:
        super().__init__(detail, upstream_status=upstream_status, upstream_said=upstream_said)
        self.upstream_status = upstream_status


class UpstreamUnavailable(Problem):
    """The other side cannot take the request now (5xx, 408, 425, 429). ``retry_after``: its wish in seconds, if any."""

    status, slug, title = 502, "upstream-unavailable", "Upstream unavailable"
    retryable = True

    def __init__(self, detail: str, *, upstream_status: int, upstream_said: str, retry_after: int | None) -> None:
        headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
        super().__init__(
            detail,
            headers=headers,
            upstream_status=upstream_status,
            upstream_said=upstream_said,
            retry_after=retry_after,
        )
        self.upstream_status = upstream_status
