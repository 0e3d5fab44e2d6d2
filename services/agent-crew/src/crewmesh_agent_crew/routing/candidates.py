"""Who may be asked a call, in which order, and what becomes of the order when one fails.

::

    course = await router.course(organization, call)            # a Problem when nobody can be asked
    while True:
        candidate = await course.next()
        try:
            reply = await router.send(candidate, call, sink, deadline=course.deadline)
        except ProviderError as error:
            course.failed(candidate, error)                      # the Problem when nobody is left
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Protocol

from crewmesh_kit.errors import Problem

from crewmesh_agent_crew.catalogue.models import ModelEntry
from crewmesh_agent_crew.providers.protocol import Account, FailureKind, ProviderError
from crewmesh_agent_crew.routing.problems import problem_of

# The next server has a key, a mind and a health of its own. It hears nothing that the first one refused as such.
_FALLS_BACK: frozenset[FailureKind] = frozenset(
    {"limited", "overloaded", "unavailable", "timeout", "cut", "unreadable", "bad-key"}
)


class Forbids(Protocol):
    """Whether a model may not be asked: the Problem that says who forbids it, or nothing."""

    def __call__(self, *names: str) -> Problem | None:
        """``names``: all that it goes by."""
        ...


def nothing_is_forbidden(*names: str) -> Problem | None:
    _ = names
    return None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that an organization may ask, and the account that it is asked by.

    ``has_next``: another one can answer if this one does not, so that it is not waited for as long.
    """

    entry: ModelEntry
    account: Account
    organization: str
    has_next: bool = False


@dataclass(frozen=True, slots=True)
class Patience:
    """How often one candidate is asked while it fails in passing, and the wait before the second time; it doubles.

    ``pause_with_others``: the longest while there is somebody else to ask.
    """

    attempts: int = 5
    pause: float = 0.5
    longest_pause: float = 20.0
    pause_with_others: float = 2.0

    def before(self, attempt: int) -> float:
        """Seconds before the attempt of that number, the second being 1; no two callers wait equally long."""
        return min(self.pause * 2 ** (attempt - 1), self.longest_pause) * random.uniform(0.5, 1.0)

    def longest(self, candidate: Candidate) -> float:
        return self.pause_with_others if candidate.has_next else self.longest_pause


class Course:
    """One call on its way along its candidates. ``deadline`` is when all of it has to be over, in the loop's time."""

    def __init__(self, candidates: tuple[Candidate, ...], *, deadline: float, patience: Patience) -> None:
        self._left = list(candidates)
        self._patience = patience
        self._broken_off = 0
        self.deadline = deadline

    @property
    def left(self) -> tuple[Candidate, ...]:
        """Those that may still be asked; the first is next."""
        return tuple(self._left)

    async def next(self) -> Candidate:
        if self._broken_off:
            await asyncio.sleep(self._patience.before(self._broken_off))
        return self._left[0]

    def failed(self, candidate: Candidate, error: ProviderError) -> None:
        """Note it. Raises the Problem that it is for the caller unless somebody can still be asked, in time."""
        if error.kind == "cut" and self._broken_off + 1 < self._patience.attempts:
            self._broken_off += 1  # the same again: what broke off was paid for, so that ``send`` does not repeat it
        else:
            self._broken_off = 0
            self._left = self._after(candidate, error)
        if not self._left or asyncio.get_running_loop().time() >= self.deadline:
            raise problem_of(candidate.entry, error) from error

    def _after(self, candidate: Candidate, error: ProviderError) -> list[Candidate]:
        rest = [each for each in self._left if each is not candidate]
        if error.kind == "too-long":
            return [each for each in rest if _reads_more(each.entry, candidate.entry)]
        return rest if error.kind in _FALLS_BACK else []


def _reads_more(entry: ModelEntry, than: ModelEntry) -> bool:
    known, least = entry.context_tokens, than.context_tokens
    return known is None or least is None or known > least
