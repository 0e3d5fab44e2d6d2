"""The report's arithmetic and form. What the machine measures is never asserted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.load.figures import Figure, at_least_times_baseline, at_most, percentile, table, write


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50.0), (0.95, 95.0), (0.99, 99.0), (1.0, 100.0), (0.001, 1.0)])
def test_a_percentile_is_a_value_that_was_measured(share: float, expected: float) -> None:
    assert percentile([float(n) for n in range(100, 0, -1)], share) == expected


def test_a_percentile_of_one_value_is_that_value() -> None:
    assert percentile([7.0], 0.5) == percentile([7.0], 0.99) == 7.0


def test_a_ratio_is_the_value_over_its_baseline() -> None:
    assert Figure("runs", 300.0, "runs/s", baseline=60.0).ratio == 5.0
    assert Figure("start", 20.0, "s").ratio is None
    assert Figure("start", 20.0, "s", baseline=0.0).ratio is None


def test_targets_judge_the_value_or_the_ratio() -> None:
    added = Figure("added", 2.0, "ms", baseline=0.5, target=at_most(3.0))
    assert added.verdict == "met"  # though it is four times the baseline
    assert Figure("added", 3.1, "ms", target=at_most(3.0)).verdict == "MISSED"
    rate = at_least_times_baseline(1.0)
    assert Figure("runs", 60.0, "runs/s", baseline=60.0, target=rate).verdict == "met"
    assert Figure("runs", 59.0, "runs/s", baseline=60.0, target=rate).verdict == "MISSED"
    assert Figure("runs", 59.0, "runs/s", target=rate).verdict == "MISSED"
    assert Figure("fsync", 1.0, "ms").verdict == ""


def test_the_file_holds_what_was_measured(tmp_path: Path) -> None:
    path = tmp_path / "new" / "bench.json"
    write(path, [Figure("old", 1.0, "ms")])
    write(
        path,
        [
            Figure("fsync", 1.23456, "ms"),
            Figure("runs", 300.0, "runs/s", baseline=60.0, target=at_least_times_baseline(1.0)),
        ],
    )
    assert json.loads(path.read_text()) == [
        {"name": "fsync", "value": 1.235, "unit": "ms", "baseline": None, "ratio": None, "target": None},
        {"name": "runs", "value": 300.0, "unit": "runs/s", "baseline": 60.0, "ratio": 5.0, "target": 1.0},
    ]
    assert [found.name for found in path.parent.iterdir()] == ["bench.json"]


def test_the_table_has_a_line_per_figure_and_says_what_was_missed() -> None:
    lines = table([Figure("idle memory", 2000.4, "MiB", target=at_most(1000.0)), Figure("fsync", 1.0, "ms")]).split(
        "\n"
    )
    assert [line.split()[0] for line in lines] == ["figure", "idle", "fsync"]
    assert lines[1].split()[2:] == ["2000", "MiB", "≤", "1000", "MISSED"]
