"""The programs that look at the manifests, and files of other Go modules, whose contents are pinned."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path
from typing import cast

from crewmesh_tools.go_programs import Pinned, ensure_built, go

from tests.rules.repository import ROOT

CHECKS = Pinned(ROOT / "tests" / "contract" / "go_checks")


@cache
def programs() -> Path:
    """The folder with every tool that go_checks names."""
    return ensure_built(CHECKS)


def module_files(module: str, version: str, checksum: str) -> Path:
    """The files of a Go module, with the contents that ``checksum`` (as in a go.sum) says."""
    with tempfile.TemporaryDirectory() as nowhere:
        # The checksum is held against ours, so that no third party need be asked.
        told = go(
            "mod", "download", "-json", f"{module}@{version}", folder=Path(nowhere), environment={"GOSUMDB": "off"}
        )
    found = _told(told)
    if found["Sum"] != checksum:
        raise AssertionError(f"{found['Path']} {found['Version']} is not what it was: {found['Sum']}")
    return Path(found["Dir"])


def files_of_required(module: str, *, required_by: Path) -> Path:
    """The files of a module in the version that the go.mod in ``required_by`` asks for, with its go.sum."""
    return Path(_told(go("mod", "download", "-json", module, folder=required_by))["Dir"])


def _told(text: str) -> dict[str, str]:
    return cast("dict[str, str]", json.loads(text))
