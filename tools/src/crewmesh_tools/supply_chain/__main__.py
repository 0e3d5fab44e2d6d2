"""``python -m crewmesh_tools.supply_chain sbom|audit|licences`` (docs/operate/supply-chain.md)."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from crewmesh_tools.images import ROOT, project_version
from crewmesh_tools.supply_chain import locks, sbom
from crewmesh_tools.supply_chain.audit import audit
from crewmesh_tools.supply_chain.licences import Licence, of_npm, of_python


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="supply_chain", description="What Crewmesh is made of.")
    verbs = parser.add_subparsers(dest="verb", required=True)
    lists = verbs.add_parser("sbom", help="write CycloneDX documents")
    lists.add_argument("--to", type=Path, default=ROOT / "dist" / "sbom", help="the folder they are written to")
    verbs.add_parser("audit", help="ask for known weaknesses")
    verbs.add_parser("licences", help="show the licences, and fail for one that is not allowed")
    options = parser.parse_args(arguments)
    match options.verb:
        case "sbom":
            return write_lists(Path(options.to))
        case "audit":
            return show_weaknesses()
        case _:
            return show_licences(known_licences())


def known_licences() -> list[Licence]:
    python = of_python(locks.python_components(ROOT), locks.shipped_python(ROOT))
    return [*python, *of_npm(locks.npm_components(ROOT))]


def write_lists(folder: Path) -> int:
    licences = {each.component.name: each.expression for each in known_licences()}
    ecosystems = {
        "python": locks.python_components(ROOT),
        "npm": locks.npm_components(ROOT),
        "go": locks.go_components(ROOT),
    }
    for name, components in ecosystems.items():
        path = folder / f"crewmesh-{name}.cdx.json"
        sbom.write(path, sbom.document(components, version=project_version(), licences=licences))
        print(f"{path}: {len(components)} components")
    return 0


def show_weaknesses() -> int:
    """0 when there are none, 1 when there are, 2 when somebody could not be asked."""
    findings = audit(ROOT)
    for finding in findings:
        print(f"{finding.subject}: {finding.verdict}")
        if finding.verdict != "clean":
            print(finding.told)
    verdicts = {finding.verdict for finding in findings}
    if "weak" in verdicts:
        return 1
    if "unknown" in verdicts:
        print("audit: Not everybody could be asked; it needs the network. That is no good news.", file=sys.stderr)
        return 2
    return 0


def show_licences(licences: Sequence[Licence]) -> int:
    for expression, number in Counter(each.expression for each in licences).most_common():
        print(f"{number:4} {expression}")
    refused = [each for each in licences if not each.allowed]
    for each in refused:
        where = "in an image" if each.shipped else "a tool"
        print(f"{each.component.purl} ({where}): {each.expression} is not allowed", file=sys.stderr)
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
