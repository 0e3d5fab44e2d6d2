"""What a caller is told when a service behind the gateway does not answer as it should."""

from __future__ import annotations

import math

from crewmesh_kit.errors import BadGateway, GatewayTimeout, Problem, TooManyRequests, Unavailable

_RETRY_SECONDS = "2"


class ServiceUnavailable(Unavailable):
    """The service that owns this resource cannot be reached right now."""

    def __init__(self, app: str) -> None:
        super().__init__(
            f"The service {app}, which answers this path, cannot be reached right now. Repeat the request in "
            f"{_RETRY_SECONDS} s; with the same Idempotency-Key nothing happens twice.",
            headers={"Retry-After": _RETRY_SECONDS},
            service=app,
        )


class ServiceTooSlow(GatewayTimeout):
    """The service that owns this resource did not begin to answer in time."""

    def __init__(self, app: str, seconds: float) -> None:
        super().__init__(
            f"The service {app} did not begin to answer within {seconds:g} s. Repeat the request; with the same "
            "Idempotency-Key nothing happens twice.",
            headers={"Retry-After": _RETRY_SECONDS},
            service=app,
        )


class ServiceClosed(BadGateway):
    """The mesh does not let the gateway call this path of the service: a mistake of its configuration."""

    def __init__(self, app: str) -> None:
        super().__init__(
            f"The access list of {app} does not admit the gateway to this path; tell whoever operates Crewmesh.",
            service=app,
        )


class SlowBody(Problem):
    """The body of the request did not arrive completely in time. Send it again over a faster connection."""

    status, slug, title, retryable = 408, "request-timeout", "Request timeout", True

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"The body did not arrive completely within {seconds:g} s. Send it again, in one go.",
            headers={"Connection": "close"},
        )


class TooManyGuesses(TooManyRequests):
    """This address asked for many webhooks or links that do not exist, or with wrong secrets, and has to wait."""

    slug, title = "too-many-guesses", "Too many guesses"

    def __init__(self, wait_seconds: float) -> None:
        seconds = max(1, math.ceil(wait_seconds))
        super().__init__(
            f"Too many requests with wrong addresses or secrets came from you. Wait {seconds} s and check the URL.",
            headers={"Retry-After": str(seconds)},
        )
