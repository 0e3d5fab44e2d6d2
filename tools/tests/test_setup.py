"""``make setup``: what is missing is one sentence, what is done is not done again."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from crewmesh_tools.mesh.layout import default_dapr_file

SCRIPT = default_dapr_file().parent / "tools" / "setup.py"


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("crewmesh_setup", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "STAMPS", tmp_path / "stamps")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return module


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_a_missing_node_is_named(setup: ModuleType) -> None:
    with pytest.raises(setup.SetupError, match=r"Node\.js is not installed"):
        setup.check_prerequisites()


def test_an_old_node_is_named(setup: ModuleType, tmp_path: Path) -> None:
    program(tmp_path / "bin" / "node", "echo v18.2.0")
    program(tmp_path / "bin" / "npm", "")
    with pytest.raises(setup.SetupError, match=r"Node\.js v18\.2\.0 is too old; install version 20"):
        setup.check_prerequisites()


def test_an_old_python_is_named(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "OLDEST_PYTHON", (99, 0))
    with pytest.raises(setup.SetupError, match=r"install Python 3\.11 or newer"):
        setup.check_prerequisites()


def test_beside_a_python_that_is_too_new_another_is_taken(
    setup: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert setup.python() == sys.executable
    monkeypatch.setattr(setup, "PYTHONS", ("2.98", "2.99"))
    with pytest.raises(setup.SetupError, match=r"too new .* install Python 2\.98 beside it"):
        setup.python()
    program(tmp_path / "bin" / "python2.99", "")
    assert setup.python() == str(tmp_path / "bin" / "python2.99")


def test_a_step_is_done_once_until_its_inputs_change(setup: ModuleType, tmp_path: Path) -> None:
    made = tmp_path / "made"
    assert setup.once("step", ["a"], made, "Making", made.touch) is True
    assert setup.once("step", ["a"], made, "Making", made.touch) is False
    assert setup.once("step", ["b"], made, "Making", made.touch) is True
    made.unlink()
    assert setup.once("step", ["b"], made, "Making", made.touch) is True


def test_a_step_that_fails_is_tried_again(setup: ModuleType, tmp_path: Path) -> None:
    made = tmp_path / "made"
    made.touch()

    def fail() -> None:
        setup.run([str(tmp_path / "missing")])

    assert setup.once("step", ["a"], made, "Making", made.touch) is True
    with pytest.raises(setup.SetupError, match="could not be run"):
        setup.once("step", ["b"], made, "Making", fail)
    assert setup.once("step", ["a"], made, "Making", made.touch) is True
