"""Prometheus watches the ports the mesh has; rules and dashboards ask for metrics that exist."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import cast

import pytest
from crewmesh_tools.dashboards import rendered
from crewmesh_tools.mesh import layout
from prometheus_client import REGISTRY

from tests.contract.known_metrics import OF_DAPR, OF_OTHERS
from tests.rules.repository import ROOT, SERVICES, Mapping, Yaml, at, documents, mappings, strings

PROMETHEUS = ROOT / "observability" / "prometheus"
DASHBOARDS = sorted((ROOT / "observability" / "grafana" / "dashboards").glob("*.json"))
RUNBOOK = ROOT / "docs" / "guides" / "runbook.md"
APPS = {str(app["appID"]): app for app in mappings(documents(ROOT / "dapr.yaml")[0]["apps"])}
# What every program of Python, Go or Prometheus itself tells.
COMMON = {"process_cpu_seconds_total", "process_open_fds", "process_resident_memory_bytes", "up"}


def rules() -> list[Mapping]:
    return [
        rule
        for path in sorted((PROMETHEUS / "rules").glob("*.yml"))
        for group in mappings(documents(path)[0]["groups"])
        for rule in mappings(group["rules"])
    ]


def targets(file: str) -> dict[str, dict[str, str]]:
    """job → app → address."""
    found: dict[str, dict[str, str]] = {}
    for job in mappings(documents(PROMETHEUS / file)[0]["scrape_configs"]):
        for entry in mappings(job["static_configs"]):
            (address,) = strings(entry["targets"])
            found.setdefault(str(job["job_name"]), {})[str(at(entry, "labels.app"))] = address
    return found


def recorded() -> set[str]:
    return {str(rule["record"]) for rule in rules() if "record" in rule}


def asked(of: str) -> list[Mapping]:
    """What dashboards ask a kind of source."""
    panels = [
        panel for path in DASHBOARDS for panel in mappings(cast("Mapping", json.loads(path.read_text()))["panels"])
    ]
    targets = [target for panel in panels for target in mappings(panel.get("targets"))]
    return [target for target in targets if at(target, "datasource.type") == of]


def queries() -> list[str]:
    return [str(each["expr"]) for each in (*asked("prometheus"), *rules())]


def sources() -> dict[str, Mapping]:
    """What Grafana finds provisioned, by its uid."""
    files = sorted((ROOT / "observability/grafana/provisioning/datasources").glob("*.yml"))
    found = [entry for path in files for entry in mappings(documents(path)[0]["datasources"])]
    assert len({str(entry["uid"]) for entry in found}) == len(found)
    return {str(entry["uid"]): entry for entry in found}


def named(value: Yaml) -> set[str]:
    """Every source that something leads to, however deep that is said."""
    if isinstance(value, list):
        return {name for each in value for name in named(each)}
    if not isinstance(value, dict):
        return set()
    here = {str(each) for key, each in value.items() if key == "datasourceUid"}
    return here | {name for each in value.values() for name in named(each)}


def metrics_of_services() -> set[str]:
    """Every series name of every service: what its modules register when they are imported."""
    for path in [*sorted(ROOT.glob("services/*/src/**/*.py")), *sorted(ROOT.glob("services/shared/kit/src/**/*.py"))]:
        if path.name == "__main__.py" or "prometheus_client import" not in path.read_text():
            continue
        parts = path.with_suffix("").parts
        importlib.import_module(".".join(parts[parts.index("src") + 1 :]))
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
    return {family.name + end for family in REGISTRY.collect() for end in suffixes.get(family.type, ("",))}


def names_in(query: str) -> set[str]:
    """Metric names of a query: strings, selectors, groupings and functions taken away."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|on|without|ignoring)\s*\([^)]*\)", "", query)
    words = set(re.findall(r"[a-z_][a-z0-9_:]*(?![a-z0-9_:]*\s*\()", bare))
    return {word for word in words if "_" in word or ":" in word or word == "up"}


def test_the_mesh_on_one_machine_is_watched_at_its_ports() -> None:
    found = targets("local.yml")
    assert found["services"] == {app: f"localhost:{entry['appPort']}" for app, entry in APPS.items()}
    assert found["sidecars"] == {app: f"localhost:{entry['metricsPort']}" for app, entry in APPS.items()}
    assert found["control-plane"] == {
        "sentry": f"localhost:{layout.SENTRY_METRICS}",
        "placement": f"localhost:{layout.PLACEMENT_METRICS}",
        "scheduler": f"localhost:{layout.SCHEDULER_METRICS}",
    }


def test_the_compose_stack_is_watched_at_its_ports() -> None:
    found = targets("compose.yml")
    assert found["services"] == {app: f"{app}:{entry['appPort']}" for app, entry in APPS.items()}
    expected = {app: f"{app}:{entry['metricsPort']}" for app, entry in APPS.items()}
    assert found["sidecars"] == {**expected, "kong": "kong:9090"}
    containers = cast("Mapping", documents(ROOT / "docker-compose.yml")[0]["services"])
    assert set(found["control-plane"]) <= set(containers)
    assert found["kong"] == {
        "kong": str(at(containers, "kong.environment.KONG_STATUS_LISTEN")).replace("0.0.0.0", "kong")
    }


def test_every_metric_that_is_asked_for_exists() -> None:
    known = metrics_of_services() | recorded() | OF_DAPR | OF_OTHERS | COMMON
    names = {name for query in queries() for name in names_in(query)}
    assert names - known == set()
    assert recorded() <= names, "a rule that nobody asks for"
    assert names >= OF_DAPR | OF_OTHERS, "a name that nobody asks for any more"


def test_a_name_that_does_not_exist_is_seen() -> None:
    query = 'sum by (app, le_x) (rate(crewmesh_gone_total{route=~"/v1_a/.*"}[5m])) / (app:http_requests:rate5m > 0)'
    assert names_in(query) == {"crewmesh_gone_total", "app:http_requests:rate5m"}


@pytest.mark.parametrize("alert", [rule for rule in rules() if "alert" in rule], ids=lambda rule: str(rule["alert"]))
def test_an_alert_leads_to_a_page_that_says_what_to_do(alert: Mapping) -> None:
    page, _, anchor = str(at(alert, "annotations.runbook")).partition("#")
    assert ROOT / page == RUNBOOK
    headings = [
        line.removeprefix("## ").strip().lower() for line in RUNBOOK.read_text().splitlines() if line[:3] == "## "
    ]
    assert anchor in headings
    assert at(alert, "labels.severity") in ("warning", "critical")
    assert at(alert, "annotations.summary")


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_asks_the_provisioned_sources(path: Path) -> None:
    board = cast("Mapping", json.loads(path.read_text()))
    assert board["uid"] == path.stem
    filled_in = {str(each["name"]) for each in mappings(at(board, "templating.list"))}
    for panel in mappings(board["panels"]):
        for target in mappings(panel.get("targets")):
            source = sources()[str(at(target, "datasource.uid"))]
            assert source["type"] == at(target, "datasource.type")
            assert set(re.findall(r"\$(\w+)", json.dumps(target))) <= filled_in


def test_sources_lead_to_sources_that_exist_and_each_is_the_other_way_round() -> None:
    ways = {uid: named(source) for uid, source in sources().items()}
    assert {name for names in ways.values() for name in names} <= set(ways)
    assert "loki" in ways["tempo"]
    assert "tempo" in ways["loki"]


def test_links_go_by_what_the_collector_puts_beside_a_line() -> None:
    lines = documents(ROOT / "observability/otel-collector/logs.yml")[0]
    statements = strings(at(lines, "processors.transform/lines.log_statements"))
    (kept,) = [each for each in statements if each.startswith("keep_keys(log.")]
    beside = {*re.findall(r'"(\w+)"', kept), "trace_id"}
    fields = mappings(at(sources()["loki"], "jsonData.derivedFields"))
    assert {str(each["matcherRegex"]) for each in fields} == {"trace_id", "run", "crew_run"} <= beside
    assert 'trace_id="$${__trace.traceId}"' in str(at(sources()["tempo"], "jsonData.tracesToLogsV2.query"))
    for target in asked("loki"):
        bare = re.sub(r'"[^"]*"', "", str(target["expr"]))
        assert set(re.findall(r"\w+", bare)) <= {*beside, "service_name", "level", "or"}


def test_the_dashboards_are_those_that_the_tools_write() -> None:
    assert {path.name: path.read_text(encoding="utf-8") for path in DASHBOARDS} == rendered()


def test_every_service_is_watched() -> None:
    assert set(APPS) == set(SERVICES)
