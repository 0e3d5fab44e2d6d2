"""k8s/ as a cluster would get it, rendered by kustomize itself."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path
from typing import cast

import yaml

from tests.contract.go_programs import programs
from tests.rules.repository import ROOT, Mapping

OVERLAYS = ("dev", "production", "production-plain", "example")


@cache
def rendered(folder: Path) -> str:
    """Every object of the kustomization in ``folder``, as text."""
    command = [str(programs() / "kustomize"), "build", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def render(folder: Path) -> list[Mapping]:
    """The same as objects. The parser in C: there are some five thousand lines to an overlay."""
    return [cast("Mapping", document) for document in yaml.load_all(rendered(folder), Loader=yaml.CSafeLoader)]


def overlay(name: str) -> list[Mapping]:
    return render(ROOT / "k8s" / "overlays" / name)
