"""What a caller is told who asked too often, from the wrong place, or for more than the plan has.

::

    TooManyRequests
    └── RateLimited 429
    PermissionDenied
    ├── AddressNotAdmitted 403
    └── QuotaExceeded 403
    Conflict
    └── WouldLockYouOut 409
    GatewayTimeout
    └── AnswerTooSlow 504
"""

from __future__ import annotations

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.errors import Conflict, GatewayTimeout, PermissionDenied, TooManyRequests

_OPERATOR = "whoever operates this installation"
_RAISE = {
    "organization": f"All of the organization counts together. A greater plan has more: ask {_OPERATOR}.",
    "person": f"All logins of the person count together. A greater plan has more: ask {_OPERATOR}.",
    "key": f"This key alone asked that often, others may still. A greater plan has more: ask {_OPERATOR}.",
    "session": f"This login alone asked that often. A greater plan has more: ask {_OPERATOR}.",
    "address": "All that comes from your address without being signed in counts together. Sign in, or ask "
    f"{_OPERATOR} to raise CREWMESH_LIMITS__ADDRESS_PER_MINUTE or CREWMESH_LIMITS__ADDRESS_PER_SECOND.",
}


class RateLimited(TooManyRequests):
    """A rate limit is used up; ``limit`` says whose: the organization's, the person's (of who
    belongs to none), the key's, the session's or the address's."""

    slug, title = "rate-limited", "Too many requests"

    def __init__(self, limit: str, policy: str, *, quota: int, window: int, wait_seconds: int) -> None:
        per = "minute" if window == 60 else "second"
        # The draft of the RateLimit header fields names this member so.
        violated: JsonObject = {"violated-policies": [policy]}
        super().__init__(
            f"The {limit}'s {quota} requests per {per} are used up. Wait {wait_seconds} s. {_RAISE[limit]}",
            headers={"Retry-After": str(wait_seconds)},
            limit=limit,
            quota=quota,
            window_seconds=window,
            **violated,
        )


class AddressNotAdmitted(PermissionDenied):
    """The organization admits requests from certain networks only, and this one came from elsewhere."""

    slug, title = "address-not-admitted", "Address not admitted"

    def __init__(self, address: str) -> None:
        super().__init__(
            f"The organization does not admit requests from {address}. Use one of its networks, or ask an "
            "administrator to add yours: PUT /v1/limits/allowlist.",
            address=address,
        )


class WouldLockYouOut(Conflict):
    """The new list of admitted networks does not contain the address that the request came from."""

    slug, title = "would-lock-you-out", "Would lock you out"

    def __init__(self, address: str) -> None:
        super().__init__(
            f"You come from {address}, which none of these networks contains: the next request would be refused. "
            "Add a network that contains it, or send the same with ?force=true if that is what you want.",
            address=address,
        )


class QuotaExceeded(PermissionDenied):
    """The organization has as many of these as its plan allows."""

    slug, title = "quota-exceeded", "Quota exceeded"

    def __init__(self, quota: str, *, plan: str, used: int, allowed: int) -> None:
        super().__init__(
            f"The plan {plan} allows {allowed} {quota.replace('_', ' ')}, and {used} are used. Remove one, or ask "
            f"{_OPERATOR} for a greater plan; GET /v1/limits shows all of them.",
            quota=quota,
            plan=plan,
            used=used,
            allowed=allowed,
        )


class AnswerTooSlow(GatewayTimeout):
    """The gateway itself did not begin to answer in time."""

    slug, title = "answer-too-slow", "Answer too slow"

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"No answer began within {seconds:g} s, so the request was given up. Repeat it; with the same "
            "Idempotency-Key nothing happens twice.",
            headers={"Retry-After": "2"},
        )
