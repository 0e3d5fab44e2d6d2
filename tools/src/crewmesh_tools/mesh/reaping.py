"""Grandchildren whose parent died: adopted by the supervisor, and collected when they end, so that no zombie stays."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Collection
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36


def adopt_orphans() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def reap(own: Collection[int]) -> list[int]:
    """Collects ended children that are not ``own`` (those are waited for by whoever started them)."""
    reaped: list[int] = []
    for listing in Path("/proc/self/task").glob("*/children"):
        for pid in map(int, listing.read_text().split()):
            if pid not in own and os.waitpid(pid, os.WNOHANG)[0] == pid:
                reaped.append(pid)
    return reaped
