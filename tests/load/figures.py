"""What a benchmark says: medians, percentiles, and each figure beside its baseline and its target."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal

__all__ = [
    "Figure",
    "Target",
    "as_json",
    "at_least_times_baseline",
    "at_most",
    "median",
    "percentile",
    "table",
    "write",
]


@dataclass(frozen=True, slots=True)
class Target:
    """A limit, and what is held against it: the value itself, or its ratio to the baseline."""

    limit: float
    of: Literal["value", "ratio"]

    def is_met(self, figure: Figure) -> bool:
        if self.of == "value":
            return figure.value <= self.limit
        return figure.ratio is not None and figure.ratio >= self.limit

    def __str__(self) -> str:
        return f"≤ {self.limit:g}" if self.of == "value" else f"≥ {self.limit:g} ×"


def at_most(limit: float) -> Target:
    return Target(limit, "value")


def at_least_times_baseline(limit: float) -> Target:
    return Target(limit, "ratio")


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number; ``baseline`` is the same thing done the plain way, in the same run and the same unit."""

    name: str
    value: float
    unit: str
    baseline: float | None = None
    target: Target | None = None

    @property
    def ratio(self) -> float | None:
        return self.value / self.baseline if self.baseline else None

    @property
    def verdict(self) -> str:
        if self.target is None:
            return ""
        return "met" if self.target.is_met(self) else "MISSED"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least ``share`` of all values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


_HEADINGS = ("figure", "value", "unit", "baseline", "ratio", "target", "")
_LEFT_ALIGNED = frozenset({"figure", "unit", "target", ""})


def table(figures: Sequence[Figure]) -> str:
    rows = [_HEADINGS, *(_cells(figure) for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    return "\n".join(_line(row, widths) for row in rows)


def _cells(figure: Figure) -> tuple[str, ...]:
    ratio = "" if figure.ratio is None else f"{figure.ratio:.2f} ×"
    target = "" if figure.target is None else str(figure.target)
    return (figure.name, _short(figure.value), figure.unit, _short(figure.baseline), ratio, target, figure.verdict)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    columns = zip(_HEADINGS, row, widths, strict=True)
    cells = (cell.ljust(width) if heading in _LEFT_ALIGNED else cell.rjust(width) for heading, cell, width in columns)
    return "  ".join(cells).rstrip()


def _short(number: float | None) -> str:
    if number is None:
        return ""
    return f"{number:.2f}" if abs(number) < 100 else f"{number:.0f}"


def as_json(figures: Sequence[Figure]) -> str:
    return json.dumps(
        [
            {
                "name": figure.name,
                "value": round(figure.value, 3),
                "unit": figure.unit,
                "baseline": None if figure.baseline is None else round(figure.baseline, 3),
                "ratio": None if figure.ratio is None else round(figure.ratio, 3),
                "target": None if figure.target is None else figure.target.limit,
            }
            for figure in figures
        ],
        indent=2,
        ensure_ascii=False,
    )


def write(path: Path, figures: Sequence[Figure]) -> None:
    """Replaced as a whole: a reader finds the figures of one run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(as_json(figures) + "\n", encoding="utf-8")
    fresh.replace(path)
