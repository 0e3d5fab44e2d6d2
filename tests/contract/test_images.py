"""The images: what they are made of, what is in them when they run, and that `make images` builds all of them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from crewmesh_tools import images

from tests.rules.repository import ROOT, at, documents

DOCKERFILES = [ROOT / image.dockerfile for image in images.IMAGES]
HADOLINT = Path(sys.executable).with_name("hadolint")
each_image = pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: str(path.parent.relative_to(ROOT)))


def final_stage(path: Path) -> str:
    return path.read_text().rpartition("\nFROM ")[2]


def test_every_dockerfile_of_the_repository_is_built() -> None:
    found = {path for folder in ("services", "tools") for path in (ROOT / folder).rglob("Dockerfile")}
    assert found - {path for path in found if "node_modules" in path.parts} == set(DOCKERFILES)


def test_images_are_named_as_compose_names_them() -> None:
    (stack,) = documents(ROOT / "docker-compose.yml")
    services = stack["services"]
    assert isinstance(services, dict)
    built = {
        (str(at(service, "image")), str(at(service, "build.dockerfile")))
        for service in services.values()
        if at(service, "build")
    }
    version = images.project_version()
    assert built <= {(f"crewmesh/{image.name}:{version}", image.dockerfile) for image in images.IMAGES}


def test_hadolint_finds_nothing() -> None:
    done = subprocess.run(
        [str(HADOLINT), "--failure-threshold=style", *map(str, DOCKERFILES)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@each_image
def test_bases_are_pinned_by_tag_and_by_digest(path: Path) -> None:
    for base in re.findall(r"^FROM (\S+)", path.read_text(), re.M):
        assert re.fullmatch(r"[a-z]+:\d+\.\d+\.\d+-[a-z-]+@sha256:[0-9a-f]{64}", base), base


def test_one_base_has_one_digest() -> None:
    bases = {base for path in DOCKERFILES for base in re.findall(r"^FROM (\S+)", path.read_text(), re.M)}
    assert len({base.partition(":")[0] for base in bases}) == len(bases)


@each_image
def test_what_runs_says_what_it_is_and_how_it_is(path: Path) -> None:
    last = final_stage(path)
    for label in ("title", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{label}=" in last
    assert f"ARG VERSION={images.project_version()}\n" in last
    assert re.search(r"^HEALTHCHECK ", last, re.M)


@each_image
def test_nothing_is_installed_where_it_runs(path: Path) -> None:
    last = final_stage(path)
    assert not re.search(r"apt-get|apk add|pip install|npm (ci|install)|uv sync|\bADD\b", last)
    assert "pip uninstall --yes pip setuptools wheel" in last or "rm -rf /usr/local/lib/node_modules" in last


@each_image
def test_only_what_is_locked_is_installed(path: Path) -> None:
    for command in re.findall(r"^RUN (uv sync|npm|pip install) ([^\n]*)", path.read_text(), re.M):
        tool, flags = command
        wanted = {"uv sync": "--frozen", "npm": "ci ", "pip install": "--only-binary :all:"}[tool]
        assert wanted in flags, command


def test_the_build_is_sent_nothing_that_belongs_to_a_machine() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[1] == "**"
    for name in (".venv", "node_modules", "__pycache__", "tests"):
        assert f"**/{name}" in ignored


class TestMakeImages:
    def engine(self, folder: Path, *, status: int = 0) -> Path:
        """Writes down what it was asked for."""
        program = folder / "docker"
        program.write_text(f'#!/bin/sh\necho "$@" >> "{folder}/asked"\nexit {status}\n')
        program.chmod(0o755)
        return folder / "asked"

    def test_builds_each_and_stamps_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = self.engine(tmp_path)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        assert images.main([]) == 0
        lines = asked.read_text().splitlines()
        assert len(lines) == len(images.IMAGES)
        assert lines[0].startswith("build --file services/gateway/Dockerfile --tag crewmesh/gateway:")
        assert "VERSION=" + images.project_version() in lines[0]
        assert re.search(r"REVISION=[0-9a-f]{40}", lines[0])

    def test_pushes_to_a_registry_of_yours(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = self.engine(tmp_path)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        assert images.main(["--prefix", "registry.example/crewmesh", "--push"]) == 0
        assert f"push registry.example/crewmesh/tools:{images.project_version()}" in asked.read_text().splitlines()

    def test_stops_at_the_first_that_fails(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = self.engine(tmp_path, status=3)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
        assert images.main([]) == 1
        assert len(asked.read_text().splitlines()) == 1

    def test_says_that_there_is_no_engine(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        assert images.main([]) == 1
        assert "Neither docker nor podman is installed" in capsys.readouterr().err
