"""New ids: a short prefix that names the kind, then a time-ordered UUID (version 7) in hex.

Time-ordered, so that rows of one kind lie beside each other in an index in the order they were made.
"""

from __future__ import annotations

import os
import re
import time

_PREFIX = re.compile(r"^[a-z]{1,8}$")


def new_id(prefix: str) -> str:
    """``new_id("run")`` → ``run_`` and 32 hex digits."""
    if not _PREFIX.match(prefix):
        raise ValueError(f"{prefix!r} is no id prefix: use one to eight lower-case letters")
    return f"{prefix}_{uuid7_hex()}"


def uuid7_hex() -> str:
    """RFC 9562: 48 bits of Unix milliseconds, the version, twelve bits of what is more than them (its method 3), then
    random bits behind the variant."""
    milliseconds, nanoseconds = divmod(time.time_ns(), 1_000_000)
    high = (nanoseconds << 12) // 1_000_000
    low = int.from_bytes(os.urandom(8), "big") & ((1 << 62) - 1)
    value = ((milliseconds & ((1 << 48) - 1)) << 80) | (0x7 << 76) | (high << 64) | (0b10 << 62) | low
    return f"{value:032x}"
