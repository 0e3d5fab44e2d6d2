"""``python -m tests.faults.rolling --minutes 15 --rate 10``: a new version is rolled out, again and again, under load.

Each minute one replica of one service is ended and started as a rollout does it, in turn, beside one other replica.
Nothing may fail, nothing may come twice, and runs may take three times as long as before at most.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time

from tests.faults.rolling_cluster import Cluster
from tests.faults.rolling_trial import Disturb, Report, on_a_mesh_of_its_own, told

_EVERY_SECONDS = 60.0
_SLOWER_AT_MOST = 3.0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.rolling")
    parser.add_argument("--minutes", type=int, default=15, help="each with a restart")
    parser.add_argument("--rate", type=float, default=10, help="runs a second, and as many reads")
    parser.add_argument("--quiet", type=float, default=60, metavar="SECONDS", help="measured before, to compare")
    parser.add_argument("--from", dest="commit", metavar="COMMIT", help="replicas begin with the code of this one")
    options = parser.parse_args()
    report = on_a_mesh_of_its_own(
        rolling(options.minutes), quiet_seconds=options.quiet, rate=options.rate, commit=options.commit
    )
    return told(report, [*violations(report), *(["runs are too slow"] if report.slower > _SLOWER_AT_MOST else [])])


def rolling(restarts: int) -> Disturb:
    async def disturb(cluster: Cluster) -> int:
        began = time.monotonic()
        for number in range(restarts):
            name = cluster.names[number % len(cluster.names)]
            before = time.monotonic()
            await cluster.restart(name)
            print(f"{name} restarted in {time.monotonic() - before:.1f} s", flush=True)
            await asyncio.sleep(max(0.0, began + (number + 1) * _EVERY_SECONDS - time.monotonic()))
        return restarts

    return disturb


def violations(report: Report) -> list[str]:
    found = {
        "requests failed": report.failed,
        "runs failed": report.not_completed,
        "effects were lost": report.lost,
        "effects came twice": report.repeated,
    }
    return [what for what, which in found.items() if which]


if __name__ == "__main__":
    sys.exit(main())
