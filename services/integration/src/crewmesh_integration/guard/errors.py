"""What can go wrong between us and the other side.

::

    Problem
    ├── DestinationRefused 403      the guard forbids the place: nothing was sent there
    ├── UpstreamRedirected 424      the redirects lead nowhere we would follow
    ├── UpstreamUnreachable 502     no connection, or it broke (retryable)
    └── UpstreamTimedOut 504        no complete answer in time (retryable)

All carry ``sent``: when true, the request may have arrived somewhere, because a redirect came from there or no answer
did. A retry carries the same ``webhook-id``, by which a receiver recognises what it has seen.
"""

from __future__ import annotations

from crewmesh_kit.errors import Problem

_MAYBE = (
    " The request may have taken effect; a retry with the same Idempotency-Key carries the same webhook-id, by which"
    " the receiver can recognise it."
)


class DestinationRefused(Problem):
    """Outbound requests go to public addresses only; the URL or a redirect leads elsewhere. Nothing was sent there."""

    status, slug, title = 403, "destination-refused", "Destination refused"


class UpstreamRedirected(Problem):
    """The other side redirects too often, to a URL that is malformed, or from https to http. Use its final URL."""

    status, slug, title = 424, "upstream-redirected", "Upstream redirected"


class UpstreamUnreachable(Problem):
    """The other side cannot be connected to, or the connection broke. ``sent``: the request may have arrived."""

    status, slug, title = 502, "upstream-unreachable", "Upstream unreachable"
    retryable = True

    def __init__(self, detail: str, *, sent: bool) -> None:
        super().__init__(detail + (_MAYBE if sent else ""), sent=sent)
        self.what = detail


class UpstreamTimedOut(Problem):
    """The other side gave no complete answer in time. ``sent``: the request may have arrived."""

    status, slug, title = 504, "upstream-timed-out", "Upstream timed out"
    retryable = True

    def __init__(self, detail: str, *, sent: bool) -> None:
        super().__init__(detail + (_MAYBE if sent else ""), sent=sent)
        self.what = detail
