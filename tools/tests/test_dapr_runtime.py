"""Dapr is taken from where it is, and built, whole or not at all, when it is nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from crewmesh_tools import dapr_runtime
from crewmesh_tools.dapr_runtime import PROGRAMS, DaprMissingError, cache_folder, ensure_dapr, pinned_version
from crewmesh_tools.mesh.layout import default_dapr_file

RUNTIME = default_dapr_file().parent / "dapr-config" / "runtime"


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without Dapr and with a PATH of its own."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return tmp_path


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def said(_: str) -> None:
    """The builder's progress is not of interest here."""


def test_without_dapr_and_go_it_says_what_to_install(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(bare / "bin"))
    with pytest.raises(DaprMissingError, match="Install Go"):
        ensure_dapr(RUNTIME, say=said)


def test_an_installation_of_the_same_minor_version_is_used(bare: Path) -> None:
    version = pinned_version(RUNTIME)
    same_minor = ".".join([*version.split(".")[:2], "0"])
    for name in PROGRAMS:
        program(bare / ".dapr" / "bin" / name, f"echo {same_minor}")
    assert ensure_dapr(RUNTIME, say=said) == bare / ".dapr" / "bin"
    assert dapr_runtime.installed_dapr("1.2.0") is None


def test_it_is_built_once(bare: Path) -> None:
    program(bare / "bin" / "go", f'mkdir -p "$GOBIN"; for p in {" ".join(PROGRAMS)}; do cp /bin/true "$GOBIN/$p"; done')
    folder = ensure_dapr(RUNTIME, say=said)
    assert folder == cache_folder(RUNTIME)
    assert {path.name for path in folder.iterdir()} == set(PROGRAMS)
    program(bare / "bin" / "go", "exit 1")
    assert ensure_dapr(RUNTIME, say=said) == folder


def test_a_failed_build_leaves_nothing_and_shows_why(bare: Path) -> None:
    program(bare / "bin" / "go", 'mkdir -p "$GOBIN"; touch "$GOBIN/daprd"; echo "no route to host" >&2; exit 1')
    with pytest.raises(DaprMissingError, match="no route to host"):
        ensure_dapr(RUNTIME, say=said)
    assert list(cache_folder(RUNTIME).parent.iterdir()) == []
