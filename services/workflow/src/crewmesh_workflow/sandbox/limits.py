"""Hard limits of the process that runs code of users, set by itself before it reads the first byte of that code.

They hold for every process below it too. Memory is bounded by RLIMIT_DATA, because JavaScript engines reserve far more
address space than they use. The number of processes is not bounded: the kernel counts it per user, across services.
"""

from __future__ import annotations

import os
import resource
import signal
from contextlib import suppress
from pathlib import Path

# The services beside it go first.
_NICENESS = 5


def confine(*, memory_mib: int, cpu_seconds: int) -> None:
    """No limit can be raised again."""
    os.nice(_NICENESS)
    # When the machine or the container runs out of memory all the same, this is what is to go.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    # A process that writes a file is to be told so; the default is to end it, and deno writes to files in memory.
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    memory = memory_mib * 1024 * 1024
    for limit, most in (
        (resource.RLIMIT_DATA, memory),
        (resource.RLIMIT_CPU, cpu_seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 64),
    ):
        resource.setrlimit(limit, (most, most))
