"""Time that passes because a test says so, and not because the machine is slow: what is due in a minute is due now."""

from __future__ import annotations

import asyncio
import time


def pass_time(seconds: float) -> None:
    """The running loop's clock goes forward: timeouts and sleeps of so many seconds are over."""
    loop = asyncio.get_running_loop()
    ahead = loop.time() - time.monotonic() + seconds
    vars(loop)["time"] = lambda: time.monotonic() + ahead
