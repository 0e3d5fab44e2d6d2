"""The lock files of all three ecosystems, read as one list of components."""

from __future__ import annotations

import base64
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, cast

Ecosystem: TypeAlias = Literal["python", "npm", "go"]

PYTHON_LOCK = "uv.lock"
NPM_LOCKS = ("services/agent-crew/embedded-model/package-lock.json",)
# Dapr's programs, which the local mesh is run with; in a cluster they are Dapr's own images.
GO_MODULES = ("dapr-config/runtime",)
_REQUIRED = re.compile(r"^\s*(?:require )?([\w./~-]+\.[\w./~-]+) (v\S+)", re.M)


@dataclass(frozen=True, slots=True)
class File:
    """Something that is downloaded, and the sum it must have."""

    url: str
    algorithm: str
    digest: str


@dataclass(frozen=True, slots=True)
class Component:
    ecosystem: Ecosystem
    name: str
    version: str
    files: tuple[File, ...]
    licence: str = ""
    needs: tuple[str, ...] = ()

    @property
    def purl(self) -> str:
        kind = {"python": "pypi", "npm": "npm", "go": "golang"}[self.ecosystem]
        return f"pkg:{kind}/{self.name.replace('@', '%40')}@{self.version.replace('+', '%2B')}"


def python_components(root: Path) -> list[Component]:
    """Those of registries; the workspace's own packages are not among them."""
    return [
        Component(
            "python", str(package["name"]), str(package["version"]), _python_files(package), needs=_needs(package)
        )
        for package in _python_packages(root)
        if "registry" in cast("Mapping[str, str]", package["source"])
    ]


def shipped_python(root: Path) -> set[str]:
    """The names of what is installed into images: all that some service needs, and what that needs."""
    needs = {str(package["name"]): _needs(package) for package in _python_packages(root)}
    waiting = [name for name in needs if name.startswith("crewmesh-") and name != "crewmesh-testkit"]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += needs.get(name, ())
    return found


def npm_components(root: Path) -> list[Component]:
    """Without those that are not installed here: `npm ci --omit=optional`."""
    return [component for path in NPM_LOCKS for component in _npm(root / path)]


def go_components(root: Path) -> list[Component]:
    return [component for folder in GO_MODULES for component in _go(root / folder)]


def without_sum(components: Iterable[Component]) -> list[str]:
    """Those that could change without anybody noticing."""
    return [
        component.purl
        for component in components
        if not component.files or not all(file.digest for file in component.files)
    ]


def _python_packages(root: Path) -> list[Mapping[str, object]]:
    lock = tomllib.loads((root / PYTHON_LOCK).read_text(encoding="utf-8"))
    return cast("list[Mapping[str, object]]", lock["package"])


def _python_files(package: Mapping[str, object]) -> tuple[File, ...]:
    listed = [*cast("list[Mapping[str, str]]", package.get("wheels", []))]
    if "sdist" in package:
        listed.append(cast("Mapping[str, str]", package["sdist"]))
    return tuple(File(file["url"], "SHA-256", file.get("hash", "").removeprefix("sha256:")) for file in listed)


def _needs(package: Mapping[str, object]) -> tuple[str, ...]:
    direct = cast("list[Mapping[str, str]]", package.get("dependencies", []))
    extras = cast("Mapping[str, list[Mapping[str, str]]]", package.get("optional-dependencies", {}))
    every = [*direct, *(one for group in extras.values() for one in group)]
    return tuple(dict.fromkeys(one["name"] for one in every))


def _npm(path: Path) -> Iterator[Component]:
    packages = cast("Mapping[str, Mapping[str, object]]", json.loads(path.read_text(encoding="utf-8"))["packages"])
    seen: set[tuple[str, str]] = set()
    for place, package in packages.items():
        name, version = place.rpartition("node_modules/")[2], str(package["version"])
        if not place or package.get("optional") or (name, version) in seen:
            continue
        seen.add((name, version))
        algorithm, _, digest = str(package.get("integrity", "")).partition("-")
        assert algorithm in ("sha512", ""), algorithm
        # Left out of the lock, it is where the registry has it.
        url = package.get("resolved", f"https://registry.npmjs.org/{name}/-/{name.rpartition('/')[2]}-{version}.tgz")
        file = File(str(url), "SHA-512", base64.b64decode(digest).hex())
        yield Component("npm", name, version, (file,), licence=str(package.get("license", "")))


def _go(folder: Path) -> Iterator[Component]:
    sums = dict(_go_sums(folder / "go.sum"))
    for name, version in _REQUIRED.findall((folder / "go.mod").read_text(encoding="utf-8")):
        yield Component("go", name, version, (File("", "h1", sums.get((name, version), "")),))


def _go_sums(path: Path) -> Iterator[tuple[tuple[str, str], str]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        name, version, digest = line.split()
        if not version.endswith("/go.mod"):
            yield (name, version), digest
