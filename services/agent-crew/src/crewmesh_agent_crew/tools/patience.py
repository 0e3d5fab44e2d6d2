"""Asking again what may work in a moment: a service is being replaced, a site is busy."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from crewmesh_kit.errors import Problem

T = TypeVar("T")

_ATTEMPTS = 4
_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 8.0


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Only for what bears repetition under its key. The last problem is raised as it came."""
    pause = _FIRST_PAUSE
    for _ in range(_ATTEMPTS - 1):
        try:
            return await ask()
        except Problem as problem:
            if not problem.retryable:
                raise
            await asyncio.sleep(max(_wanted(problem), pause * random.uniform(0.5, 1.0)))
        pause = min(pause * 3, _LONGEST_PAUSE)
    return await ask()


def _wanted(problem: Problem) -> float:
    """What the far side asks for, as far as somebody waits for it."""
    told = problem.headers.get("Retry-After", "")
    return min(float(told), _LONGEST_PAUSE) if told.isdigit() else 0.0
