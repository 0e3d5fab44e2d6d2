"""Under which licences we use the work of others, and which of them we may (`make licences`).

Allowed is what lets anybody run, change and pass Crewmesh on under its own licence. The weak copyleft of LGPL and MPL
is among it, for we use such libraries unchanged and separable. Programs that only check or build may be under more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from crewmesh_tools.supply_chain.locks import Component

ALLOWED = frozenset(
    {
        *("0BSD", "Apache-2.0", "BlueOak-1.0.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "CNRI-Python", "HPND"),
        *("ISC", "LGPL-3.0-only", "MIT", "MIT-0", "MIT-CMU", "MPL-2.0", "PSF-2.0", "Unlicense", "Zlib"),
    }
)
# Used while Crewmesh is checked or built, as programs of their own, and in no image.
ALLOWED_FOR_TOOLS = ALLOWED | {"GPL-3.0-only"}

# What authors write where an SPDX expression belongs.
_SPOKEN = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd license": "BSD-3-Clause",
    "bsd": "BSD-3-Clause",
    "bsd-3-clause, apache-2.0, dependency licenses": "BSD-3-Clause AND Apache-2.0",
    "gpl-3.0": "GPL-3.0-only",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mit style": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
}
# Their metadata says nothing; read in the licence that lies in the package or in its repository.
_READ = {"cel-python": "Apache-2.0", "crewai": "MIT", "crewai-cli": "MIT", "crewai-core": "MIT"}
_WORDS = re.compile(r"\(|\)|[^\s()]+")


@dataclass(frozen=True, slots=True)
class Licence:
    component: Component
    expression: str
    shipped: bool

    @property
    def allowed(self) -> bool:
        return is_allowed(self.expression, ALLOWED if self.shipped else ALLOWED_FOR_TOOLS)


def of_python(components: Iterable[Component], shipped: set[str]) -> Iterator[Licence]:
    """Of what is installed here; a package for another system is not."""
    for component in components:
        try:
            installed = distribution(component.name)
        except PackageNotFoundError:
            continue
        yield Licence(component, expression_of(component.name, installed), component.name in shipped)


def of_npm(components: Iterable[Component]) -> Iterator[Licence]:
    for component in components:
        yield Licence(component, component.licence or "unknown", shipped=True)


def expression_of(name: str, installed: Distribution) -> str:
    said = installed.metadata
    if "License-Expression" in said:
        return said["License-Expression"]
    classifiers = [value for value in said.get_all("Classifier") or [] if value.startswith("License :: ")]
    spoken = [value.rpartition(" :: ")[2] for value in classifiers if not value.endswith(":: OSI Approved")]
    if spoken:
        # Several may mean that one can choose, or not: so all of them have to be allowed.
        return " AND ".join(_named(value) for value in sorted(spoken))
    first_line = said["License"].strip().partition("\n")[0].strip() if "License" in said else ""
    return _named(first_line) if first_line else _READ.get(name, "unknown")


def is_allowed(expression: str, allowed: frozenset[str]) -> bool:
    """Reads an SPDX expression: of OR one side is enough, of AND both are needed."""
    words = [word for word in _WORDS.findall(expression) if word]
    truth = _any(words, allowed)
    return truth and not words


def _any(words: list[str], allowed: frozenset[str]) -> bool:
    truth = _all(words, allowed)
    while words and words[0] == "OR":
        words.pop(0)
        truth = _all(words, allowed) or truth
    return truth


def _all(words: list[str], allowed: frozenset[str]) -> bool:
    truth = _one(words, allowed)
    while words and words[0] == "AND":
        words.pop(0)
        truth = _one(words, allowed) and truth
    return truth


def _one(words: list[str], allowed: frozenset[str]) -> bool:
    if not words:
        return False
    word = words.pop(0)
    if word != "(":
        return word in allowed
    truth = _any(words, allowed)
    return truth if words and words.pop(0) == ")" else False


def _named(spoken: str) -> str:
    return _SPOKEN.get(spoken.lower(), spoken)
