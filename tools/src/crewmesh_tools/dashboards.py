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
_SOURCES = {
    "graph": {"type": "prometheus", "uid": "prometheus"},
    "logs": {"type": "loki", "uid": "loki"},
    "traces": {"type": "tempo", "uid": "tempo"},
}
_COLUMNS, _WIDTH, _HEIGHT = 3, 8, 8
_WIDE, _HIGH = _WIDTH * _COLUMNS, 12
_LINES = {"showTime": True, "wrapLogMessage": True, "enableLogDetails": True, "sortOrder": "Ascending"}


def rendered() -> dict[str, str]:
    """The text of every file, by its name."""
    return {f"{page.uid}.json": json.dumps(_page(page), indent=2, ensure_ascii=False) + "\n" for page in PAGES}


def _page(page: Page) -> dict[str, object]:
    asks = [{"type": "textbox", "name": name, "label": label} for name, label in page.asks.items()]
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
        **({"templating": {"list": asks}} if asks else {}),
        "panels": [{"id": number, **panel} for number, panel in enumerate(_panels(page), start=1)],
    }


def _panels(page: Page) -> Iterator[dict[str, object]]:
    top = 0
    for row in page.rows:
        place = {"x": 0, "y": top, "w": _WIDE, "h": 1}
        yield {"type": "row", "title": row.title, "collapsed": False, "gridPos": place, "panels": []}
        top += 1
        graphs = [panel for panel in row.panels if panel.shows == "graph"]
        for at, panel in enumerate(graphs):
            down, across = divmod(at, _COLUMNS)
            yield _graph(panel, x=across * _WIDTH, y=top + down * _HEIGHT)
        top += -(-len(graphs) // _COLUMNS) * _HEIGHT
        for panel in row.panels:
            if panel.shows != "graph":
                yield _list(panel, y=top)
                top += _HIGH


def _graph(panel: Panel, *, x: int, y: int) -> dict[str, object]:
    return {
        "type": "timeseries",
        "title": panel.title,
        "datasource": _SOURCES[panel.shows],
        "gridPos": {"x": x, "y": y, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + at), "datasource": _SOURCES[panel.shows], "expr": query, "legendFormat": legend}
            for at, (query, legend) in enumerate(panel.queries.items())
        ],
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    }


def _list(panel: Panel, *, y: int) -> dict[str, object]:
    """Lines of logs, or one line for each trace, which leads to it."""
    (query,) = panel.queries
    asked = (
        {"expr": query} if panel.shows == "logs" else {"query": query, "queryType": "traceql", "tableType": "traces"}
    )
    return {
        "type": "logs" if panel.shows == "logs" else "table",
        "title": panel.title,
        "datasource": _SOURCES[panel.shows],
        "gridPos": {"x": 0, "y": y, "w": _WIDE, "h": _HIGH},
        "targets": [{"refId": "A", "datasource": _SOURCES[panel.shows], **asked}],
        "options": _LINES if panel.shows == "logs" else {},
    }


def main() -> None:
    for name, text in rendered().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
