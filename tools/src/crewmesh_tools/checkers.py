"""Programs that check what the project deploys, built once per user from pinned modules: promtool and two of our own.

Like Dapr's own programs, nothing is downloaded as a binary; the pins are in tools/checkers (a go.mod and its go.sum).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

MODULE = Path(__file__).resolve().parents[2] / "checkers"
PROGRAMS = ("promtool", "composecheck", "alertcheck")
# Of the many ways in which Prometheus finds targets only one is configured here; the others would be most of the build.
_TAGS = "remove_all_sd,enable_kubernetes_sd"


class CheckersMissingError(Exception):
    """The programs cannot be built; the text says what to do."""


def ensure_checkers(*, say: Callable[[str], object] = print) -> Path:
    """The folder with the programs. Whoever comes while they are being built waits for them."""
    final = cache_folder()
    final.parent.mkdir(parents=True, exist_ok=True)
    with (final.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not all(os.access(final / program, os.X_OK) for program in PROGRAMS):
            _build(final, say)
    return final


def cache_folder() -> Path:
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    files = [MODULE / "go.mod", MODULE / "go.sum", *sorted(MODULE.rglob("*.go"))]
    content = hashlib.sha256(b"\0".join(path.read_bytes() for path in files))
    return root / "crewmesh" / "checkers" / content.hexdigest()[:16]


def _build(final: Path, say: Callable[[str], object]) -> None:
    """Into a folder beside the final one, which then gets its name: an interrupted build leaves nothing half done."""
    go = shutil.which("go")
    if go is None:
        raise CheckersMissingError("promtool is built with Go. Install it (https://go.dev/dl) and try again.")
    say("Building promtool and two small checkers from their pinned sources, once: a few minutes on two cores.")
    with tempfile.TemporaryDirectory(dir=final.parent, prefix=".building-") as building:
        target = Path(building) / "bin"
        environment = {**os.environ, "GOBIN": str(target), "GOFLAGS": "-mod=readonly", "GOWORK": "off"}
        done = subprocess.run(
            [go, "install", "-tags", _TAGS, "-ldflags", "-s -w", "tool", "./..."],
            cwd=MODULE,
            env={**environment, "CGO_ENABLED": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise CheckersMissingError(f"promtool could not be built:\n{done.stderr[-2000:]}")
        shutil.rmtree(final, ignore_errors=True)
        target.replace(final)
