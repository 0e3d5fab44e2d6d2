"""Whether a provider has been asked yet: what still waits for its turn, and is given up, has cost nothing."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

from crewmesh_agent_crew.providers.protocol import ProviderError


class Reach:
    """``paid``: from here on the provider may charge for what it does."""

    def __init__(self) -> None:
        self.paid = False


_reach: ContextVar[Reach | None] = ContextVar("reach", default=None)


@contextmanager
def noticed() -> Generator[Reach]:
    """What is asked inside the block is noticed."""
    reach = Reach()
    before = _reach.set(reach)
    try:
        yield reach
    finally:
        _reach.reset(before)


@contextmanager
def asking_provider() -> Generator[None]:
    """Around the request itself."""
    reach = _reach.get() or Reach()
    reach.paid = True
    try:
        yield
    except ProviderError as error:
        reach.paid = error.tokens_paid
        raise
