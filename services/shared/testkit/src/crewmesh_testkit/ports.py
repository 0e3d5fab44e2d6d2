"""Free ports below the range from which the system takes the source ports of connections."""

from __future__ import annotations

import random
import socket

_LOWEST, _HIGHEST = 20_000, 29_999


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on right now."""
    for port in random.sample(range(_LOWEST, _HIGHEST), 200):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"no free port was found between {_LOWEST} and {_HIGHEST}")
