"""What docs/operate says of the cluster is what the manifests say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.contract.kustomize import OVERLAYS
from tests.contract.manifests import objects, the_app, variables
from tests.rules.repository import ROOT, SERVICES, at, mappings

KUBERNETES = ROOT / "docs" / "operate" / "kubernetes.md"
SIZING = ROOT / "docs" / "operate" / "sizing.md"
SCALING = ROOT / "docs" / "operate" / "scaling.md"


def row(page: Path, heading: str, name: str) -> list[str]:
    """The cells after the first of the row ``name`` of the table under a heading."""
    part = page.read_text().split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    (found,) = re.findall(rf"^\| {re.escape(name)} \|(.+)\|$", part, flags=re.M)
    return [cell.strip() for cell in str(found).split("|")]


@pytest.mark.parametrize("app", SERVICES)
def test_the_times_to_leave_are_those_of_the_manifests(app: str) -> None:
    _, in_hand, killed = row(KUBERNETES, "How a replica leaves", app)
    assert in_hand == f"{variables(the_app(app))['CREWMESH_HTTP__SHUTDOWN_SECONDS']['value']} s"
    assert killed == f"{at(objects('Deployment')[app], 'spec.template.spec.terminationGracePeriodSeconds')} s"


@pytest.mark.parametrize("app", SERVICES)
def test_the_sizes_are_those_of_the_manifests(app: str) -> None:
    request, limit, _ = row(SIZING, "What the manifests ask for", app)
    asked = at(the_app(app, "dev"), "resources")
    memory = str(at(asked, "requests.memory"))
    assert request.partition(", ")[2].replace(" ", "") == memory.replace("Mi", "MiB")
    assert limit.replace(" ", "") == re.sub(r"(Mi|Gi)$", r"\1B", str(at(asked, "limits.memory")))


@pytest.mark.parametrize("app", SERVICES)
def test_the_signals_are_those_of_the_manifests(app: str) -> None:
    (told,) = re.findall(rf"^\| {app} \| ([^|]+) \|", SCALING.read_text(), flags=re.M)
    for trigger in mappings(at(objects("ScaledObject")[app], "spec.triggers")):
        wanted = str(at(trigger, "metadata.threshold") or f"{at(trigger, 'metadata.value')} % processor")
        assert re.search(rf"\b{re.escape(wanted)}\b", str(told)), wanted


@pytest.mark.parametrize("name", OVERLAYS)
def test_every_overlay_is_in_the_guide(name: str) -> None:
    assert f"| `{name}` |" in KUBERNETES.read_text()
