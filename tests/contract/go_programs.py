"""Programs written in Go that tests ask, built once per machine from a pinned module; and files of other Go modules.

As with Dapr itself (crewmesh_tools.dapr_runtime): nothing is downloaded as a binary, and a second checkout finds what
the first has built. Where Go is missing the tests fail and say so; `make setup` wants it anyway.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import cast

from tests.rules.repository import ROOT

CHECKS = ROOT / "tests" / "contract" / "go_checks"
# A build must not depend on settings a developer's shell carries for other work.
_ENVIRONMENT = {"GOFLAGS": "-mod=readonly", "GOWORK": "off", "CGO_ENABLED": "0"}


@cache
def programs(module: Path = CHECKS) -> Path:
    """The folder with every tool that the module names."""
    content = (module / "go.mod").read_bytes() + (module / "go.sum").read_bytes()
    folder = _cache() / hashlib.sha256(content).hexdigest()[:16]
    with _alone(folder.with_suffix(".lock")):
        if not folder.exists():
            _build(module, folder)
    return folder


def _build(module: Path, folder: Path) -> None:
    """Beside the final folder, which then gets its name: an interrupted build leaves nothing half done."""
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".building-") as building:
        target = Path(building) / "bin"
        _go("install", "-ldflags=-s -w", "tool", folder=module, environment={"GOBIN": str(target)})
        target.replace(folder)


def module_files(module: str, version: str, checksum: str) -> Path:
    """The files of a Go module, with the contents that ``checksum`` (as in a go.sum) says."""
    with tempfile.TemporaryDirectory() as nowhere:
        # The checksum is held against ours, so that no third party need be asked.
        told = _go(
            "mod", "download", "-json", f"{module}@{version}", folder=Path(nowhere), environment={"GOSUMDB": "off"}
        )
    return _told_place(told, checksum)


def files_of_required(module: str, *, required_by: Path) -> Path:
    """The files of a module in the version that the go.mod in ``required_by`` asks for, with its go.sum."""
    return _told_place(_go("mod", "download", "-json", module, folder=required_by), None)


def _told_place(told: str, checksum: str | None) -> Path:
    said = cast("dict[str, str]", json.loads(told))
    if checksum is not None and said["Sum"] != checksum:
        raise AssertionError(f"{said['Path']} {said['Version']} is not what it was: {said['Sum']}")
    return Path(said["Dir"])


def _go(*arguments: str, folder: Path, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        ["go", *arguments],
        cwd=folder,
        env={**os.environ, **_ENVIRONMENT, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"go {' '.join(arguments)}: {done.stderr[-2000:]}{done.stdout[-2000:]}"
    return done.stdout


def _cache() -> Path:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crewmesh" / "checks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _alone(path: Path) -> Generator[None]:
    """Test runs of two checkouts may begin at the same time."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
