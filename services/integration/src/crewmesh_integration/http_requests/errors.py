"""What the other side answered, where that is not a success.

::

    Problem
    ├── UpstreamRefused 424         it will not take this request: 4xx
    └── UpstreamUnavailable 502     it may take it later: 5xx, 408, 425, 429 (retryable)
"""

from __future__ import annotations

from crewmesh_kit.errors import Problem


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
