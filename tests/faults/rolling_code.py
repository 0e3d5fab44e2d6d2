"""Replicas that begin with the code of an earlier commit and come back with this one's: a rollout as it really is.

Every process of the mesh that is started while ``old`` is in force finds the earlier packages first; a process keeps
what it has begun with. The first replica to come back migrates the database, and the others go on with the new schema.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.rules.repository import ROOT

_CHOOSES = """import pathlib
import sys

told = pathlib.Path(__file__).with_name("folders")
if told.exists():
    sys.path[:0] = told.read_text().splitlines()
"""


class OldCode:
    """``environment`` is for the mesh; from ``replaced`` on, what starts is new."""

    def __init__(self, commit: str, folder: Path) -> None:
        folder.mkdir()
        archive = subprocess.run(["git", "archive", commit, "services"], cwd=ROOT, stdout=subprocess.PIPE, check=True)
        subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
        packages = [*folder.glob("services/*/src"), *folder.glob("services/shared/*/src")]
        self._folders = folder / "folders"
        self._folders.write_text("\n".join(map(str, packages)))
        # Python runs a module of this name at every start.
        (folder / "sitecustomize.py").write_text(_CHOOSES)
        self.environment = {"PYTHONPATH": str(folder)}

    def replaced(self) -> None:
        self._folders.unlink()
