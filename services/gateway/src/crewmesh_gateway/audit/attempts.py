"""Who a request turned out to come from: noted by the doorkeeper, read by whoever looks at the answer."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from crewmesh_gateway.principals.models import Principal


@dataclass(slots=True)
class Attempt:
    """One request. Nobody yet, or nobody at all."""

    principal: Principal | None = None


_attempt: ContextVar[Attempt | None] = ContextVar("attempt", default=None)


def begin_attempt() -> Attempt:
    attempt = Attempt()
    _attempt.set(attempt)
    return attempt


def note_principal(principal: Principal) -> None:
    """Whatever is refused from here on was refused to this one."""
    attempt = _attempt.get()
    if attempt is not None:
        attempt.principal = principal
