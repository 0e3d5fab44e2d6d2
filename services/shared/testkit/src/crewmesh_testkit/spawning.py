"""Starting processes that end with the test run, even one that is killed.

Linux ties a child to the thread that started it, not to the process. So one thread, which lives as long as the run,
starts them all; a server that a test restarts from a short-lived thread would otherwise die with that thread.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

from crewmesh_tools.mesh.process import die_with_parent

_starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="spawning")


def spawn(command: Sequence[str], *, env: Mapping[str, str], cwd: Path | str, log: BinaryIO) -> subprocess.Popen[bytes]:
    """The running process; what it says goes to ``log``."""

    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            env=env,
            cwd=cwd,
            stdout=log,
            stderr=subprocess.STDOUT,
            preexec_fn=die_with_parent(signal.SIGKILL),
        )

    return _starter.submit(start).result()
