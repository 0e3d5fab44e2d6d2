"""Files that only their owner may read, whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import cast


def write_private_text(path: Path, content: str) -> None:
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def write_variables(path: Path, variables: Mapping[str, str]) -> None:
    """As an env_file of Docker compose. The values are ours: hexadecimal, URLs, PEM, so nothing needs an escape."""
    unquotable = [name for name, value in variables.items() if any(character in value for character in "\"'$\\`")]
    if unquotable:
        raise ValueError(f"{', '.join(unquotable)} cannot be written to an env_file as it is")
    write_private_text(path, "".join(f'{name}="{value}"\n' for name, value in variables.items()))


def read_flat(path: Path) -> dict[str, str]:
    """Names and values: of a JSON file, or of a folder that holds one file per name, as Kubernetes mounts them."""
    if path.is_dir():
        return {file.name: file.read_text(encoding="utf-8").strip() for file in path.iterdir() if file.is_file()}
    known = cast("dict[object, object]", json.loads(path.read_text(encoding="utf-8")))
    return {str(name): str(value) for name, value in known.items()}
