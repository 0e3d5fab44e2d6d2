"""The rules of observability/prometheus as its operator wants them: kustomize cannot put one file into another.

Each file becomes one PrometheusRule with the same groups, word for word; the comments stay with the original.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import yaml

RULES = Path("observability/prometheus/rules")
TARGET = Path("k8s/components/watched/rules.yaml")
_HEAD = f"# Made by `make gen` from {RULES}. Change it there.\n"


def prometheus_rules(repository: Path) -> str:
    return _HEAD + yaml.safe_dump_all(
        [_rule(path) for path in sorted((repository / RULES).glob("*.yml"))],
        sort_keys=False,
        allow_unicode=True,
        width=120,
    )


def _rule(path: Path) -> dict[str, object]:
    written = cast("dict[str, object]", yaml.safe_load(path.read_text(encoding="utf-8")))
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": f"crewmesh-{path.stem}"},
        "spec": {"groups": written["groups"]},
    }
