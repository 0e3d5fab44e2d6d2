"""Brings a bare machine to the point where everything else runs: `make setup`.

Runs on the system's Python with nothing installed. Each step remembers, in a stamp, the hash of what it was made from
and is skipped while that has not changed. Package managers are called as they are configured on this machine.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TOOLS = ROOT / ".tools"
STAMPS = TOOLS / "stamps"
UV = TOOLS / "venv" / "bin" / "uv"
UV_VERSION = "0.13.8"
MODEL = ROOT / "services" / "agent-crew" / "embedded-model"
RUNTIME = ROOT / "dapr-config" / "runtime"
MEMBERS = (".", "services/*", "services/shared/*", "tools")
OLDEST_PYTHON = (3, 11)
# CrewAI and the embedded Valkey exist for these; a newer system Python may well have one of them beside it.
PYTHONS = ("3.13", "3.12", "3.11")
OLDEST_NODE = 20


class SetupError(Exception):
    """A prerequisite is missing or a step failed; the text says what to do."""


def main() -> int:
    began = time.monotonic()
    try:
        check_prerequisites()
        done = [step() for step in (tool_environment, packages, model_packages, dapr)]
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    if any(done):
        print(f"Everything is set up ({time.monotonic() - began:.0f} s).")
    return 0


def check_prerequisites() -> None:
    if sys.version_info < OLDEST_PYTHON:
        raise SetupError(f"Python {sys.version.split()[0]} is too old; install Python 3.11 or newer as python3.")
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        raise SetupError(
            "Node.js is not installed (node and npm in PATH); install version 20 or newer from nodejs.org."
        )
    found = re.match(r"v(\d+)", output([node, "--version"]))
    if found is None or int(found.group(1)) < OLDEST_NODE:
        raise SetupError(f"Node.js {output([node, '--version'])} is too old; install version {OLDEST_NODE} or newer.")
    if shutil.disk_usage(ROOT).free < 3 * 1024**3:
        raise SetupError(f"Less than 3 GB are free on the disk of {ROOT}; free some space first.")


def python() -> str:
    """The interpreter the project runs on: this one, or the newest that its libraries exist for."""
    if f"{sys.version_info.major}.{sys.version_info.minor}" in PYTHONS:
        return sys.executable
    found = next((path for version in PYTHONS if (path := shutil.which(f"python{version}"))), None)
    if found is None:
        raise SetupError(
            f"Python {sys.version.split()[0]} is too new for libraries that Crewmesh needs; install Python "
            f"{PYTHONS[0]} beside it, so that python{PYTHONS[0]} is in PATH."
        )
    return found


def tool_environment() -> bool:
    """A uv of the pinned version, whatever the machine has."""

    def install() -> None:
        try:
            venv.create(TOOLS / "venv", with_pip=True, clear=True)
        except (OSError, subprocess.CalledProcessError) as error:
            raise SetupError(
                f"A Python environment could not be made in {TOOLS} ({error}). On Debian: apt install python3-venv"
            ) from error
        run([str(UV.with_name("python")), "-m", "pip", "install", "--quiet", f"uv=={UV_VERSION}"])

    return once("uv", [UV_VERSION, sys.version], UV, f"Installing uv {UV_VERSION}", install)


def packages() -> bool:
    def sync() -> None:
        # Another environment may be active in this shell; the project's own is meant.
        environment = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
        run(
            [str(UV), "sync", "--frozen", "--all-packages", "--python", python()],
            environment={"UV_PYTHON_DOWNLOADS": "never", **environment},
        )

    members = [path for pattern in MEMBERS for path in sorted(ROOT.glob(f"{pattern}/pyproject.toml"))]
    inputs = [text(path) for path in (ROOT / "uv.lock", *members)]
    made = ROOT / ".venv" / "bin" / "pytest"
    return once("packages", [*inputs, sys.version], made, "Installing the Python packages (about 1 GB)", sync)


def model_packages() -> bool:
    def install() -> None:
        npm = shutil.which("npm") or "npm"
        run([npm, "ci", "--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=MODEL)

    inputs = [text(MODEL / "package-lock.json"), output(["node", "--version"])]
    return once("model", inputs, MODEL / "node_modules", "Installing the embedded model's packages", install)


def dapr() -> bool:
    """Cheap when it is there already, so it needs no stamp."""
    python = str(ROOT / ".venv" / "bin" / "python")
    run([python, "-m", "crewmesh_tools.dapr_runtime", str(RUNTIME)])
    return False


def once(name: str, inputs: Sequence[str], made: Path, title: str, work: Callable[[], None]) -> bool:
    """Does the work unless its inputs are those of last time and what it made is still there."""
    stamp = STAMPS / name
    wanted = hashlib.sha256("\0".join(inputs).encode()).hexdigest()
    if made.exists() and stamp.exists() and stamp.read_text() == wanted:
        return False
    print(f"{title} …", flush=True)
    stamp.unlink(missing_ok=True)
    work()
    stamp.parent.mkdir(parents=True, exist_ok=True)
    stamp.write_text(wanted)
    return True


def run(command: Sequence[str], *, cwd: Path = ROOT, environment: Mapping[str, str] | None = None) -> None:
    try:
        subprocess.run(command, cwd=cwd, env=environment, check=True)
    except subprocess.CalledProcessError as error:
        raise SetupError(f"`{' '.join(command)}` failed with exit status {error.returncode}; see above.") from error
    except OSError as error:
        raise SetupError(f"`{command[0]}` could not be run: {error.strerror}.") from error


def output(command: Sequence[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
