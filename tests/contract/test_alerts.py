"""Prometheus itself says that its files are right; every alert fires when it should, and only then."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from crewmesh_tools.checkers import ensure_checkers

from tests.contract.alert_cases import CASES, Series
from tests.rules.repository import ROOT, documents, mappings

PROMETHEUS = ROOT / "observability" / "prometheus"
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))


@pytest.fixture(scope="module", name="promtool")
def _promtool() -> str:
    return str(ensure_checkers() / "promtool")


def ask(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def alerts() -> set[str]:
    groups = [group for path in RULES for group in mappings(documents(path)[0]["groups"])]
    return {str(rule["alert"]) for group in groups for rule in mappings(group["rules"]) if "alert" in rule}


def trial(alert: str, series: Series, minute: int, *, fires: bool) -> dict[str, object]:
    """One test of promtool: whether this alert fires at that minute, whatever the others do."""
    expected = [{"labels": f'{{alertname="{alert}"}}', "value": 1}] if fires else []
    return {
        "name": f"{alert} {'fires' if fires else 'is silent'}",
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f'max by (alertname) (ALERTS{{alertname="{alert}",alertstate="firing"}})',
                "eval_time": f"{minute}m",
                "exp_samples": expected,
            }
        ],
    }


@pytest.mark.parametrize("name", ["local.yml", "compose.yml", "kubernetes.yml"])
def test_prometheus_understands_its_configuration(name: str, promtool: str) -> None:
    ask(promtool, "check", "config", "--syntax-only", str(PROMETHEUS / name))


def test_prometheus_understands_the_rules(promtool: str) -> None:
    ask(promtool, "check", "rules", "--lint-fatal", *map(str, RULES))


def test_every_alert_has_been_tried() -> None:
    assert set(CASES) == alerts()


def test_an_alert_fires_when_it_should_and_only_then(promtool: str, tmp_path: Path) -> None:
    trials = [
        trial(alert, series, case.minute, fires=fires)
        for alert, case in CASES.items()
        for series, fires in ((case.fires, True), (case.quiet, False))
    ]
    file = tmp_path / "alerts_test.yml"
    content = {"rule_files": [str(path) for path in RULES], "evaluation_interval": "1m", "tests": trials}
    file.write_text(json.dumps(content))
    ask(promtool, "test", "rules", str(file))


def test_an_event_that_never_left_is_a_dead_letter_too(promtool: str, tmp_path: Path) -> None:
    buried = 'crewmesh_events_buried_total{app="workflow",topic="runs"}'
    trials = [
        trial("DeadLetters", {buried: "_x20 1x40"}, 30, fires=True),
        trial("DeadLetters", {buried: "1x20 2x40"}, 30, fires=True),
        trial("DeadLetters", {buried: "1x60"}, 30, fires=False),
    ]
    file = tmp_path / "alerts_test.yml"
    content = {"rule_files": [str(path) for path in RULES], "evaluation_interval": "1m", "tests": trials}
    file.write_text(json.dumps(content))
    ask(promtool, "test", "rules", str(file))


def test_a_wrong_expectation_is_seen(promtool: str, tmp_path: Path) -> None:
    case = CASES["ServiceDown"]
    content = {
        "rule_files": [str(path) for path in RULES],
        "evaluation_interval": "1m",
        "tests": [trial("ServiceDown", case.quiet, case.minute, fires=True)],
    }
    file = tmp_path / "alerts_test.yml"
    file.write_text(json.dumps(content))
    done = subprocess.run([promtool, "test", "rules", str(file)], capture_output=True, check=False)
    assert done.returncode != 0
