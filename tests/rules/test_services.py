"""Every service has the same shape, and what must hold for all of them is looked for in their files."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.rules.repository import ROOT, SERVICES, python_files

# Within it parentheses may stand one deep.
_TEXT = r"[^()]*(?:\([^()]*\)[^()]*)*"
CLAIM = re.compile(rf"\bIN \(\s*SELECT\b{_TEXT}\bLIMIT\b{_TEXT}\bFOR (?:NO KEY )?UPDATE\b")
CREATE_TABLE = re.compile(r"CREATE TABLE (?:IF NOT EXISTS )?(\w+)\s*\((.*?)\n\)", re.S | re.I)


def package(service: str) -> Path:
    return ROOT / "services" / service / "src" / f"crewmesh_{service.replace('-', '_')}"


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_what_every_service_has(service: str) -> None:
    folder = ROOT / "services" / service
    for name in ("README.md", "Dockerfile", "pyproject.toml", "migrations", "tests"):
        assert (folder / name).exists(), f"services/{service}/{name}"
    for name in ("main.py", "__main__.py", "settings.py", "py.typed"):
        assert (package(service) / name).exists(), f"{package(service).name}/{name}"


@pytest.mark.parametrize("service", SERVICES)
def test_the_wiring_of_a_service_fits_on_a_page(service: str) -> None:
    assert len((package(service) / "main.py").read_text().splitlines()) <= 120


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("services/*/migrations/*.sql")), ids=lambda path: f"{path.parts[-3]}/{path.name}"
)
def test_a_table_with_an_organization_has_row_level_security(path: Path) -> None:
    sql = path.read_text()
    for table, columns in CREATE_TABLE.findall(sql):
        if re.search(r"\borg_id\b", columns):
            secured = re.search(
                rf"(?:isolate_tenants|only_for_the_system)\('{table}'\)"
                rf"|ALTER TABLE {table}\b[^;]*FORCE ROW LEVEL SECURITY",
                sql,
                re.I,
            )
            assert secured, f"{table} has an org_id but no forced row-level security"


def test_what_is_claimed_is_chosen_once() -> None:
    """With IN the planner may choose anew for every row, finds the next ones each time, and the limit limits nothing.

    ``= ANY(ARRAY(...))`` is worked out once.
    """
    assert CLAIM.search("WHERE id IN (\n SELECT id FROM t WHERE due <= now() LIMIT %(most)s FOR UPDATE SKIP LOCKED\n)")
    offenders = [str(path.relative_to(ROOT)) for path in python_files(tests=False) if CLAIM.search(path.read_text())]
    assert offenders == []


def test_no_test_is_skipped_or_expected_to_fail() -> None:
    pattern = re.compile(r"pytest\.(?:mark\.)?(?:skip|skipif|xfail|importorskip)\b")
    here = Path(__file__)
    offenders = [
        str(path.relative_to(ROOT)) for path in python_files() if path != here and pattern.search(path.read_text())
    ]
    assert offenders == []


def test_every_decision_is_in_the_index() -> None:
    index = (ROOT / "docs" / "adr" / "README.md").read_text()
    for path in (ROOT / "docs" / "adr").glob("[0-9]*.md"):
        assert f"({path.name})" in index, f"{path.name} is missing in docs/adr/README.md"


def test_links_in_the_documentation_lead_somewhere() -> None:
    pages = [
        *ROOT.glob("*.md"),
        *ROOT.glob("docs/**/*.md"),
        *ROOT.glob("services/**/README.md"),
        *ROOT.glob("kong/*.md"),
    ]
    broken = [
        f"{page.relative_to(ROOT)}: {target}"
        for page in pages
        if "node_modules" not in page.parts
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
        if not re.match(r"https?:|mailto:", target) and not (page.parent / target).exists()
    ]
    assert broken == []


def orchestrators(tree: ast.AST) -> list[ast.FunctionDef]:
    """Functions that take a workflow context: they are replayed, so they must decide the same every time."""
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        and any(
            arg.annotation and re.search(r"(DaprWorkflow|Orchestration)Context", ast.unparse(arg.annotation))
            for arg in node.args.args
        )
    ]


def test_orchestrators_do_nothing_that_differs_at_replay() -> None:
    """A clock, a random number, a file or an environment variable read in an orchestrator breaks its replay."""
    forbidden = re.compile(r"\b(?:time\.|datetime\.now|utcnow|random|uuid|os\.|open\(|requests|aiohttp|await )")
    seen = 0
    for path in ROOT.glob("services/*/src/**/*.py"):
        for function in orchestrators(ast.parse(path.read_text())):
            seen += 1
            assert not forbidden.search(ast.unparse(function)), f"{path.name}: {function.name}"
    assert seen >= 1, "the rule found no orchestrator to look at"
