"""Free ports below the range from which the system takes the source ports of connections.

A port that was found free is taken a moment later. So that nobody comes in between, every process of a test run finds
ports of its own, and none again before it has found all.
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Iterator
from itertools import cycle, islice

_LOWEST, _HIGHEST = 20_000, 29_999
_PROCESSES = 4


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on, and that no other test is given."""
    for port in islice(_ours, _HIGHEST - _LOWEST):
        if is_free(port):
            return port
    raise RuntimeError(f"no free port was found between {_LOWEST} and {_HIGHEST}")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _of_this_process() -> Iterator[int]:
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = list(range(_LOWEST + number % _PROCESSES, _HIGHEST, _PROCESSES))
    random.shuffle(ports)
    return cycle(ports)


_ours = _of_this_process()
