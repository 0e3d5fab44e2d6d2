"""Programs written in Go, built once per user from a pinned module: a go.mod and its go.sum, with sources or without.

As with Dapr itself (dapr_runtime): nothing is downloaded as a binary, and a second checkout finds what the first built.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path


class GoFailedError(Exception):
    """Go is missing, or could not do what was asked; the text says what to do, or what it said."""


@dataclass(frozen=True, slots=True)
class Pinned:
    """``packages``: what is built; ``tool`` stands for all that the go.mod names as tools."""

    module: Path
    packages: tuple[str, ...] = ("tool",)
    tags: str = ""

    @property
    def folder(self) -> Path:
        """Where its programs are kept: by everything that they are made of."""
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        files = [self.module / "go.mod", self.module / "go.sum", *sorted(self.module.rglob("*.go"))]
        made_of = [*(path.read_bytes() for path in files if path.exists()), repr((self.packages, self.tags)).encode()]
        return root / "crewmesh" / "go" / hashlib.sha256(b"\0".join(made_of)).hexdigest()[:16]


def ensure_built(pinned: Pinned, *, say: Callable[[str], object] = print) -> Path:
    """The folder with the programs. Whoever comes while they are being built waits for them."""
    folder = pinned.folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            say(f"Building what {pinned.module.name}/go.mod pins, once: up to a few minutes on two cores.")
            _build(pinned, folder)
    return folder


def go(*arguments: str, folder: Path, environment: Mapping[str, str] | None = None) -> str:
    """What Go says. It must not depend on settings that a developer's shell carries for other work."""
    program = shutil.which("go")
    if program is None:
        raise GoFailedError("Go is not installed. Install it (https://go.dev/dl) and try again.")
    done = subprocess.run(
        [program, *arguments],
        cwd=folder,
        env={**os.environ, "GOFLAGS": "-mod=readonly", "GOWORK": "off", "CGO_ENABLED": "0", **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise GoFailedError(f"go {' '.join(arguments)}:\n{done.stderr[-2000:]}{done.stdout[-2000:]}")
    return done.stdout


def _build(pinned: Pinned, folder: Path) -> None:
    """Beside the final folder, which then gets its name: an interrupted build leaves nothing half done."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".building-") as building:
        target = Path(building) / "bin"
        options = ["-ldflags", "-s -w", *(["-tags", pinned.tags] if pinned.tags else [])]
        go("install", *options, *pinned.packages, folder=pinned.module, environment={"GOBIN": str(target)})
        target.replace(folder)
