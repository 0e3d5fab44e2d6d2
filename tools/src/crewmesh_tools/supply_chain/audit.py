"""Known weaknesses of what the lock files name, asked of those who keep lists of them (`make audit`)."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, cast

from crewmesh_tools.supply_chain.locks import NPM_LOCKS

Verdict: TypeAlias = "Literal['clean', 'weak', 'unknown']"


@dataclass(frozen=True, slots=True)
class Finding:
    subject: str
    verdict: Verdict
    told: str


Run: TypeAlias = Callable[[Sequence[str], Path], "subprocess.CompletedProcess[str]"]


def run(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def audit(root: Path, *, run: Run = run) -> list[Finding]:
    return [_python(root, run), *(_npm(root / path, run) for path in NPM_LOCKS)]


def _python(root: Path, run: Run) -> Finding:
    """By the pinned uv, which asks OSV with names and versions only."""
    uv = root / ".tools" / "venv" / "bin" / "uv"
    subject = "Python (uv.lock)"
    if not uv.exists():
        return Finding(subject, "unknown", "uv is not set up here; do it first: make setup")
    done = run([str(uv), "audit", "--frozen", "--preview-features", "audit-command"], root)
    verdicts: dict[int, Verdict] = {0: "clean", 1: "weak"}
    # Any other status says that it could not ask.
    verdict = verdicts.get(done.returncode, "unknown")
    return Finding(subject, verdict, (done.stdout + done.stderr).strip())


def _npm(lock: Path, run: Run) -> Finding:
    subject = f"npm ({lock.parent.name})"
    npm = shutil.which("npm")
    if npm is None:
        return Finding(subject, "unknown", "npm is not installed")
    done = run([npm, "audit", "--package-lock-only", "--omit=optional", "--json"], lock.parent)
    try:
        report = cast("dict[str, object]", json.loads(done.stdout))
    except ValueError:
        return Finding(subject, "unknown", (done.stdout + done.stderr).strip())
    if "vulnerabilities" not in report:
        # The status alone does not tell: it is 1 for weaknesses as well as for a registry that does not answer.
        return Finding(subject, "unknown", f"the registry does not answer: {report.get('statusCode', 'no connection')}")
    found = cast("dict[str, dict[str, object]]", report["vulnerabilities"])
    told = "\n".join(f"{name}: {about.get('severity')}" for name, about in sorted(found.items()))
    return Finding(subject, "weak" if found else "clean", told)
