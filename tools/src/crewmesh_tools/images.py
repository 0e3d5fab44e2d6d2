"""``python -m crewmesh_tools.images`` (`make images`): builds every image with an engine of this machine."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
ENGINES = ("docker", "podman")


@dataclass(frozen=True, slots=True)
class Image:
    name: str
    dockerfile: str


IMAGES = (
    *(Image(app, f"services/{app}/Dockerfile") for app in ("gateway", "workflow", "agent-crew", "integration")),
    Image("knowledge", "services/knowledge/Dockerfile"),
    Image("embedded-model", "services/agent-crew/embedded-model/Dockerfile"),
    Image("tools", "tools/Dockerfile"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="images", description="Builds the images of Crewmesh.")
    parser.add_argument("--prefix", default="crewmesh", help="what stands before the names, a registry of yours say")
    parser.add_argument("--push", action="store_true", help="push each one after it is built")
    options = parser.parse_args(arguments)
    engine = next((name for name in ENGINES if shutil.which(name)), None)
    if engine is None:
        print(f"images: Neither {' nor '.join(ENGINES)} is installed, so nothing can be built here.", file=sys.stderr)
        return 1
    version, revision = project_version(), current_revision()
    for number, image in enumerate(IMAGES, start=1):
        tag = f"{options.prefix}/{image.name}:{version}"
        print(f"[{number}/{len(IMAGES)}] {tag}", flush=True)
        commands = [build_command(engine, image, tag, version, revision)]
        commands += [[engine, "push", tag]] if options.push else []
        for command in commands:
            done = subprocess.run(command, cwd=ROOT, check=False)
            if done.returncode != 0:
                print(f"images: `{' '.join(command[:2])}` failed for {tag}; see above.", file=sys.stderr)
                return 1
    return 0


def build_command(engine: str, image: Image, tag: str, version: str, revision: str) -> list[str]:
    stamps = ["--build-arg", f"VERSION={version}", "--build-arg", f"REVISION={revision}"]
    return [engine, "build", "--file", image.dockerfile, "--tag", tag, *stamps, "."]


def project_version() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])


def current_revision() -> str:
    """The commit, marked when there is more in the work tree than in it; unknown outside a checkout."""
    asked = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    if shutil.which("git") is None:
        return "unknown"
    told = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    return told.stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
