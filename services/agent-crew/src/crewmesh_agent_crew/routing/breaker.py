"""Leaving alone what has failed again and again: a model at an account, as this process has met it.

After so many failures in a row it is not asked for a while; then one call tries it, and the others go on being told at
once that it is away, so that they can ask somebody else. Each time that the try fails the while is twice as long.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeAlias

from crewmesh_kit.logs import get_logger

from crewmesh_agent_crew.providers.protocol import FailureKind, ProviderError
from crewmesh_agent_crew.routing.candidates import Candidate

# A server that says "too much", or "no", may be in good health; whether it can answer is not known by that.
_ILL: frozenset[FailureKind] = frozenset({"overloaded", "unavailable", "timeout", "cut", "unreadable"})
_LONGEST = 12.0
_MOST_REMEMBERED = 10_000

# The account's owner and name, and the model there.
Target: TypeAlias = tuple[str | None, str, str]

log = get_logger(__name__)


class LeftAloneError(ProviderError):
    """It was not asked, and is not waited for."""

    def __init__(self, failures: int, *, pause: float) -> None:
        reason = f"it failed {failures} times in a row and is left alone for a while"
        super().__init__("unavailable", reason, pause=pause)


class _Health:
    __slots__ = ("closed_until", "failures", "pause", "trying")

    def __init__(self) -> None:
        self.failures = 0
        self.pause = 0.0
        self.closed_until = 0.0
        self.trying = False


class Breakers:
    def __init__(self, *, failures: int, seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._failures = failures
        self._seconds = seconds
        self._now = now
        # Only of those that failed last; the one that was quiet for longest is forgotten first.
        self._ill: OrderedDict[Target, _Health] = OrderedDict()

    def check(self, candidate: Candidate) -> None:
        """Before an attempt: ProviderError while the target is left alone. Else this may be the one that tries it."""
        health = self._ill.get(_target(candidate))
        if health is None or health.failures < self._failures:
            return
        left = health.closed_until - self._now()
        if left > 0 or health.trying:
            raise LeftAloneError(health.failures, pause=max(left, 1.0))
        health.trying = True

    def succeeded(self, candidate: Candidate) -> None:
        health = self._ill.pop(_target(candidate), None)
        if health is not None and health.failures >= self._failures:
            log.info("model answers again", model=candidate.entry.name, account=candidate.account.name)

    def failed(self, candidate: Candidate, kind: FailureKind) -> None:
        if kind not in _ILL:
            self.left_undecided(candidate)
            return
        health = self._remembered(_target(candidate))
        health.failures += 1
        health.trying = False
        if health.failures >= self._failures:
            health.pause = min(max(health.pause * 2, self._seconds), self._seconds * _LONGEST)
            health.closed_until = self._now() + health.pause
            log.warning(
                "model is left alone", model=candidate.entry.name, account=candidate.account.name, seconds=health.pause
            )

    def left_undecided(self, candidate: Candidate) -> None:
        """The attempt says nothing of its health, or nobody waited for its end: the next one tries."""
        if (health := self._ill.get(_target(candidate))) is not None:
            health.trying = False

    def _remembered(self, target: Target) -> _Health:
        health = self._ill.setdefault(target, _Health())
        self._ill.move_to_end(target)
        if len(self._ill) > _MOST_REMEMBERED:
            self._ill.popitem(last=False)
        return health


def _target(candidate: Candidate) -> Target:
    return (candidate.account.organization, candidate.account.name, candidate.entry.model)
