"""``python -m tests.faults.availability --minutes 10``: replicas are killed under load, one at a time, of any service.

In turn the app alone, the sidecar alone, and both, as when a node is gone. Of all requests at the gateway, 99.9 % must
be answered as they should, every run that was acknowledged completes, and no effect of one is lost.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Sequence

from crewmesh_tools.mesh.apps import sidecar_name

from tests.faults.rolling_cluster import Cluster
from tests.faults.rolling_trial import Disturb, Report, on_a_mesh_of_its_own, told
from tests.faults.trial import SEED

_EVERY_SECONDS = 30.0
AVAILABLE = 0.999


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.availability")
    parser.add_argument("--minutes", type=int, default=10, help="each with two kills")
    parser.add_argument("--rate", type=float, default=10, help="runs a second, and as many reads")
    options = parser.parse_args()
    report = on_a_mesh_of_its_own(killing_for(options.minutes * 60), quiet_seconds=30, rate=options.rate)
    return told(report, [*violations(report), *(["too few answers"] if report.available < AVAILABLE else [])])


def killing_for(seconds: float) -> Disturb:
    async def disturb(cluster: Cluster) -> int:
        print(f"repeat with CREWMESH_FAULT_SEED={SEED}", flush=True)
        victims = _victims(cluster.names, random.Random(SEED))
        began, kills = time.monotonic(), 0
        while time.monotonic() < began + seconds:
            await kill(cluster, victims[kills % len(victims)])
            kills += 1
            await asyncio.sleep(max(0.0, began + kills * _EVERY_SECONDS - time.monotonic()))
        return kills

    return disturb


def _victims(names: Sequence[str], dice: random.Random) -> list[tuple[str, ...]]:
    """Each replica's app, sidecar and both, in an order that the dice say."""
    ways = [way for name in names for way in ((name,), (sidecar_name(name),), (name, sidecar_name(name)))]
    return dice.sample(ways, len(ways))


async def kill(cluster: Cluster, processes: Sequence[str]) -> None:
    before = time.monotonic()
    await cluster.kill(*processes)
    print(f"{' and '.join(processes)} killed, back after {time.monotonic() - before:.1f} s", flush=True)


def violations(report: Report) -> list[str]:
    found = {"runs failed": report.not_completed, "effects were lost": report.lost}
    return [what for what, which in found.items() if which]


if __name__ == "__main__":
    sys.exit(main())
