"""``python -m crewmesh_tools.compose``: makes the secrets of the compose stack, starts it (docs/guides/deploy.md)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from crewmesh_tools.deploy import compose
from crewmesh_tools.mesh.daprfile import read_dapr_file
from crewmesh_tools.mesh.errors import MeshError
from crewmesh_tools.mesh.layout import default_dapr_file

_UP = ("docker", "compose", "up", "--detach", "--build", "--wait")


def main() -> int:
    dapr_file = default_dapr_file()
    reason = why_docker_cannot()
    if reason is not None:
        print(f"compose: {reason} `make run` starts the same mesh without Docker.", file=sys.stderr)
        return 1
    try:
        apps = [app.app_id for app in read_dapr_file(dapr_file)]
        folder = compose.prepare(dapr_file.parent, apps)
    except MeshError as error:
        print(f"compose: {error}", file=sys.stderr)
        return 1
    account = compose.owner()
    identity = {"CREWMESH_UID": str(account.uid), "CREWMESH_GID": str(account.gid)}
    done = subprocess.run(_UP, cwd=dapr_file.parent, env={**os.environ, **identity}, check=False)
    if done.returncode == 0:
        print(f"The mesh answers at http://localhost:8080; your API key is in {folder / 'credentials.json'}.")
    return done.returncode


def why_docker_cannot() -> str | None:
    """One sentence, or nothing when the stack can be started."""
    if shutil.which("docker") is None:
        return "Docker is not installed (no `docker` in PATH)."
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode != 0:
        return "Docker's compose plugin is not installed."
    if subprocess.run(["docker", "info"], capture_output=True, check=False).returncode != 0:
        return "No Docker engine answers on this machine."
    return None


if __name__ == "__main__":
    sys.exit(main())
