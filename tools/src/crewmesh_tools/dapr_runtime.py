"""Dapr's programs of exactly the version the mesh is tested with: an installed Dapr, or one built from pinned modules.

Nothing is downloaded as a binary. Go builds daprd, placement, scheduler and sentry from dapr-config/runtime (a go.mod
and its go.sum); the result is kept per user, so that it is built once for all checkouts.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

PROGRAMS = ("daprd", "placement", "scheduler", "sentry")
_VERSION = re.compile(r"github\.com/dapr/dapr v(\d+\.\d+\.\d+)")
_LEAST_FREE_BYTES = 4 * 1024**3


class DaprMissingError(Exception):
    """Dapr is neither installed nor can it be built; the text says what to do."""


Say = Callable[[str], object]


def ensure_dapr(module: Path, *, say: Say = print) -> Path:
    """The folder with the four programs."""
    version = pinned_version(module)
    return installed_dapr(version) or cached_dapr(module) or build_dapr(module, say=say)


def pinned_version(module: Path) -> str:
    found = _VERSION.search((module / "go.mod").read_text(encoding="utf-8"))
    if found is None:
        raise DaprMissingError(f"{module / 'go.mod'} does not name a version of github.com/dapr/dapr.")
    return found.group(1)


def installed_dapr(version: str) -> Path | None:
    """An installation that has all four programs, of the same minor version."""
    beside = shutil.which("daprd")
    candidates = [Path.home() / ".dapr" / "bin", *([Path(beside).resolve().parent] if beside else [])]
    return next((folder for folder in candidates if _serves(folder, version)), None)


def _serves(folder: Path, version: str) -> bool:
    if not all(os.access(folder / program, os.X_OK) for program in PROGRAMS):
        return False
    try:
        told = subprocess.run(
            [str(folder / "daprd"), "--version"], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return told.stdout.strip().split(".")[:2] == version.split(".")[:2]


def cached_dapr(module: Path) -> Path | None:
    folder = cache_folder(module)
    return folder if all(os.access(folder / program, os.X_OK) for program in PROGRAMS) else None


def cache_folder(module: Path, *sources: str) -> Path:
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    content = b"".join((module / name).read_bytes() for name in ("go.mod", *sources))
    return root / "crewmesh" / "dapr" / hashlib.sha256(content).hexdigest()[:16]


def build_dapr(module: Path, *, say: Say) -> Path:
    telling = f"Building Dapr {pinned_version(module)} from its pinned sources, once: about five minutes on two cores."
    return _build(module, "tool", cache_folder(module), telling, say)


def ensure_daprd_for_replicas(module: Path, *, say: Say = print) -> Path:
    """The sidecar that finds several replicas of an app on one machine; always built, from the same pins."""
    program = cache_folder(module, "replicas/main.go") / "replicas"
    if not os.access(program, os.X_OK):
        telling = "Building a daprd that finds replicas, once: about a minute where Dapr was built before."
        _build(module, "./replicas", program.parent, telling, say)
    return program


def _build(module: Path, packages: str, final: Path, telling: str, say: Say) -> Path:
    """Into a folder beside the final one, which then gets its name: an interrupted build leaves nothing half done."""
    version = pinned_version(module)
    go = shutil.which("go")
    if go is None:
        raise DaprMissingError(
            f"Dapr {version} is not installed and cannot be built without Go. Install Go (https://go.dev/dl), or Dapr "
            f"{version} itself (https://docs.dapr.io/getting-started/install-dapr-cli), and try again."
        )
    final.parent.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(final.parent).free < _LEAST_FREE_BYTES:
        raise DaprMissingError(f"Building Dapr needs 4 GB of free disk under {final.parent}. Free some and try again.")
    with tempfile.TemporaryDirectory(dir=final.parent, prefix=".building-") as building:
        say(telling)
        _go_install(go, module, packages, Path(building) / "bin", say)
        shutil.rmtree(final, ignore_errors=True)
        (Path(building) / "bin").replace(final)
    return final


def _go_install(go: str, module: Path, packages: str, target: Path, say: Say) -> None:
    version = pinned_version(module)
    stamped = f"-s -w -X github.com/dapr/dapr/pkg/buildinfo.version={version}"
    command = [go, "install", "-v", "-tags", "stablecomponents", "-ldflags", stamped, packages]
    # The build must not depend on settings a developer's shell carries for other work.
    environment = {**os.environ, "GOBIN": str(target), "GOFLAGS": "-mod=readonly", "GOWORK": "off", "CGO_ENABLED": "0"}
    with subprocess.Popen(
        command, cwd=module, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr is not None
        tail = _report(running.stderr.readline, say)
        if running.wait() != 0:
            raise DaprMissingError(f"Dapr {version} could not be built by `{' '.join(command[:2])}`:\n{tail()}")


def _report(next_line: Callable[[], str], say: Say) -> Callable[[], str]:
    """Counts the packages that are compiled and says so now and then; returns a way to read the last lines."""
    lines: list[str] = []
    began = said = time.monotonic()
    while line := next_line():
        lines.append(line.rstrip())
        if time.monotonic() - said >= 10:
            said = time.monotonic()
            say(f"  {said - began:4.0f} s: {len(lines)} packages fetched or compiled")
    return lambda: "\n".join(lines[-15:])


def main() -> int:
    parser = argparse.ArgumentParser(prog="dapr_runtime", description="Finds Dapr or builds it.")
    parser.add_argument("module", type=Path, help="folder of the go.mod that pins it")
    try:
        ensure_dapr(parser.parse_args().module, say=lambda text: print(text, flush=True))
    except DaprMissingError as error:
        print(f"dapr: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
