"""Writes Grafana's dashboards: ``python -m crewmesh_tools.dashboards``.

What a dashboard shows is a list of rows of panels in dashboard_pages.py; how a panel looks is said here, once. The JSON
files are committed, because Grafana reads files, and a test compares them with what is written here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from crewmesh_tools.dashboard_pages import PAGES, Page, Panel

FOLDER = Path(__file__).resolve().parents[3] / "observability" / "grafana" / "dashboards"
_SOURCE = {"type": "prometheus", "uid": "prometheus"}
_COLUMNS, _WIDTH, _HEIGHT = 3, 8, 8


def rendered() -> dict[str, str]:
    """The text of every file, by its name."""
    return {f"{page.uid}.json": json.dumps(_page(page), indent=2, ensure_ascii=False) + "\n" for page in PAGES}


def _page(page: Page) -> dict[str, object]:
    return {
        "uid": page.uid,
        "title": page.title,
        "tags": ["crewmesh"],
        "timezone": "browser",
        "editable": False,
        "schemaVersion": 41,
        "version": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "links": [
            {"type": "dashboards", "title": "Crewmesh", "tags": ["crewmesh"], "asDropdown": True, "keepTime": True}
        ],
        "panels": [{"id": number, **panel} for number, panel in enumerate(_panels(page), start=1)],
    }


def _panels(page: Page) -> Iterator[dict[str, object]]:
    top = 0
    for row in page.rows:
        place = {"x": 0, "y": top, "w": _WIDTH * _COLUMNS, "h": 1}
        yield {"type": "row", "title": row.title, "collapsed": False, "gridPos": place, "panels": []}
        top += 1
        for at, panel in enumerate(row.panels):
            down, across = divmod(at, _COLUMNS)
            yield _graph(panel, x=across * _WIDTH, y=top + down * _HEIGHT)
        top += -(-len(row.panels) // _COLUMNS) * _HEIGHT


def _graph(panel: Panel, *, x: int, y: int) -> dict[str, object]:
    return {
        "type": "timeseries",
        "title": panel.title,
        "datasource": _SOURCE,
        "gridPos": {"x": x, "y": y, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + at), "datasource": _SOURCE, "expr": query, "legendFormat": legend}
            for at, (query, legend) in enumerate(panel.queries.items())
        ],
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    }


def main() -> None:
    for name, text in rendered().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
