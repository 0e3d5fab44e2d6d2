"""Waiting for something to become true, with a deadline, instead of sleeping and hoping."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

T = TypeVar("T")


async def until(
    check: Callable[[], Awaitable[T | None]] | Callable[[], T | None],
    *,
    seconds: float,
    what: str | Callable[[], str],
    every: float = 0.05,
) -> T:
    """The first truthy value of ``check``; an assertion error that says ``what`` was waited for when time is up.

    ``what`` is asked for then, where it can tell how far things had come.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = check()
        if inspect.isawaitable(found):
            found = await cast(Awaitable[T | None], found)
        if found:
            return cast(T, found)
        if time.monotonic() >= deadline:
            raise AssertionError(f"waited {seconds:g} s in vain for {what if isinstance(what, str) else what()}")
        await asyncio.sleep(every)
