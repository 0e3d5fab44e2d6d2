"""How long this machine takes to put a page on its disk: what every commit costs at least."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tests.load.figures import Figure, median

_PAGE = os.urandom(8 * 1024)
_REPEATS, _WRITES = 5, 40


def measure_fsync(folder: Path) -> Figure:
    """``folder`` must be on the disk that holds the database."""
    path = folder / "fsync-probe"
    try:
        with path.open("wb", buffering=0) as file:
            seconds = median(median(_write(file.fileno()) for _ in range(_WRITES)) for _ in range(_REPEATS))
    finally:
        path.unlink(missing_ok=True)
    return Figure("fsync", seconds * 1000, "ms")


def _write(descriptor: int) -> float:
    began = time.perf_counter()
    os.write(descriptor, _PAGE)
    os.fsync(descriptor)
    return time.perf_counter() - began
