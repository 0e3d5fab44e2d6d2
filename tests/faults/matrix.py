"""``python -m tests.faults.matrix --seeds 20 --runs 200``: every fault with many seeds on one mesh, as a table."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from crewmesh_testkit.mesh import MeshProcess

from tests.faults.breakage import FAULTS
from tests.faults.trial import SEED, Report, run_trial

_OFFSET = 22_750


def main() -> int:
    options = _options()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        home = Path(folder)
        home.chmod(0o711)  # PostgreSQL may run as another account, which must find its data
        mesh = MeshProcess(home, offset=_OFFSET)
        mesh.start()
        try:
            reports = asyncio.run(_all(mesh, options.faults or [*FAULTS], options.seed, options.seeds, options.runs))
        finally:
            mesh.stop()
    print(f"\n{_table(reports)}\n\n{len(reports)} trials in {(time.monotonic() - began) / 60:.0f} min")
    violated = [report for report in reports if report.violations]
    for report in violated:
        print(report)
    return 1 if violated else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.matrix")
    parser.add_argument("--seeds", type=int, default=20, help="how many seeds, each with every fault")
    parser.add_argument("--seed", type=int, default=SEED, help="the first seed")
    parser.add_argument("--runs", type=int, default=200, help="runs of a trial")
    parser.add_argument("--faults", nargs="+", choices=FAULTS, metavar="FAULT", help=f"of: {', '.join(FAULTS)}")
    return parser.parse_args()


async def _all(mesh: MeshProcess, faults: Sequence[str], first: int, seeds: int, runs: int) -> list[Report]:
    reports: list[Report] = []
    for seed in range(first, first + seeds):
        for fault in faults:
            await mesh.until_ready(seconds=180)
            report = await run_trial(mesh, fault, seed=seed, runs=runs)
            print(report, flush=True)
            reports.append(report)
    return reports


def _table(reports: Sequence[Report]) -> str:
    lines = [f"{'fault':22} {'trials':>6} {'runs':>6} {'silence':>9} {'longest':>9} {'ended':>9} {'wrong':>6}"]
    for fault in dict.fromkeys(report.fault for report in reports):
        of = [report for report in reports if report.fault == fault]
        quiet = [report.quiet_seconds for report in of]
        ended = median(report.ended_seconds for report in of)
        wrong = sum(bool(report.violations) for report in of)
        runs = sum(report.runs for report in of)
        lines.append(
            f"{fault:22} {len(of):6} {runs:6} {median(quiet):7.1f} s {max(quiet):7.1f} s {ended:7.1f} s {wrong:6}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
