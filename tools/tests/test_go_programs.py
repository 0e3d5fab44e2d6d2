"""Programs in Go: built once of what is pinned, anew when that changes, and nothing half done when a build fails."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from crewmesh_tools.go_programs import GoFailedError, Pinned, ensure_built

SOURCE = 'package main\n\nfunc main() { print("%s") }\n'


@pytest.fixture
def pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pinned:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    module = tmp_path / "module"
    module.mkdir()
    (module / "go.mod").write_text("module example/teller\n\ngo 1.26\n")
    (module / "main.go").write_text(SOURCE % "one")
    return Pinned(module, packages=("./...",))


def told(folder: Path) -> str:
    return subprocess.run([str(folder / "teller")], capture_output=True, text=True, check=True).stderr


def test_what_was_built_is_found_until_it_is_made_of_something_else(pinned: Pinned) -> None:
    said: list[str] = []
    first = ensure_built(pinned, say=said.append)
    assert told(first) == "one"
    assert ensure_built(pinned, say=said.append) == first
    assert len(said) == 1
    (pinned.module / "main.go").write_text(SOURCE % "two")
    assert told(ensure_built(pinned, say=said.append)) == "two"
    assert told(first) == "one"
    assert len(said) == 2


def test_a_build_that_fails_says_why_and_leaves_nothing(pinned: Pinned) -> None:
    (pinned.module / "main.go").write_text("package main\n\nfunc main() { nowhere() }\n")
    with pytest.raises(GoFailedError, match="nowhere"):
        ensure_built(pinned, say=lambda _: None)
    assert [path.suffix for path in pinned.folder.parent.iterdir()] == [".lock"]


def test_without_go_it_is_said_what_to_do(pinned: Pinned, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(GoFailedError, match="Install it"):
        ensure_built(pinned, say=lambda _: None)
