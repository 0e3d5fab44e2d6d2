"""What the supervisor needs to know about a process: how to start it, when it is ready, how to stop it."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

# None when the process is ready, else a few words on why it is not.
Check = Callable[[], Awaitable[str | None]]


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    name: str
    command: tuple[str, ...]
    port: int
    check: Check
    cwd: Path
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    env_files: Mapping[str, Path] = field(default_factory=dict[str, Path])  # variables read from files at each start
    ports: tuple[int, ...] = ()  # every port it takes, the main one included
    needs: tuple[str, ...] = ()  # names that must be ready before its first start
    tier: int = 0  # the highest tier stops first
    once_up: Callable[[], Awaitable[None]] | None = None  # work between "it answers" and "ready"
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals = signal.SIGKILL  # what the kernel sends when the supervisor is gone
    stop_seconds: float = 10
