"""One trial: a quiet time under load, then replicas go while the load stays; what was seen is held against both."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from crewmesh_testkit.mesh import MeshProcess

from tests.faults.rolling_cluster import REPLICAS, Cluster
from tests.faults.rolling_code import OldCode
from tests.faults.rolling_traffic import Asked, Traffic
from tests.faults.trial import until_all_ended

# Disturbs the mesh for as long as it likes, and says how often it did.
Disturb = Callable[[Cluster], Awaitable[int]]

_OFFSET = 23_250
_WARM_UP_SECONDS = 5.0
# Nobody thinks in these runs.
_ENVIRONMENT = {"CREWMESH_MODEL__URL": "http://127.0.0.1:9/v1", "CREWMESH_MODEL__API_KEY": "none"}


@dataclass(frozen=True, slots=True)
class Report:
    disturbances: int
    seconds: float
    runs: int
    requests: int
    failed: tuple[Asked, ...]
    lost: tuple[str, ...]
    repeated: tuple[str, ...]
    # p95 in seconds, quiet and disturbed.
    of_runs: tuple[float, float]
    of_requests: tuple[float, float]
    not_completed: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def available(self) -> float:
        return 1 - len(self.failed) / self.requests

    @property
    def slower(self) -> float:
        quiet, disturbed = self.of_runs
        return disturbed / quiet

    def __str__(self) -> str:
        lines = [f"  {each.seconds * 1000:6.0f} ms {each.what}: {each.trouble}" for each in self.failed[:20]]
        lines += [f"  {run} is {status}" for run, status in [*self.not_completed.items()][:20]]
        for name, (quiet, disturbed) in (("runs", self.of_runs), ("requests", self.of_requests)):
            times = disturbed / quiet
            lines.append(f"p95 of {name}: quiet {quiet * 1000:.0f} ms, then {disturbed * 1000:.0f} ms ({times:.1f} ×)")
        lines += [
            f"{self.disturbances} times a replica went in {self.seconds:.0f} s",
            f"{self.requests} requests, {len(self.failed)} failed: {self.available:.3%} were answered as they should",
            f"{self.runs} runs, {len(self.not_completed)} did not complete; "
            f"{len(self.lost)} effects were lost, {len(self.repeated)} came again",
        ]
        return "\n".join(lines)


@contextmanager
def two_replicas(home: Path, *, offset: int | None = None, commit: str | None = None) -> Generator[MeshProcess]:
    """Replicas of the code of ``commit``, if it is given, which come back with that of this checkout."""
    home.chmod(0o711)  # PostgreSQL may run as another account, which must find its data
    old = OldCode(commit, home / "old") if commit else None
    environment = {**_ENVIRONMENT, **(old.environment if old else {})}
    mesh = MeshProcess(home, offset=offset, environment=environment, replicas=REPLICAS)
    mesh.start()
    try:
        if old:
            old.replaced()
        yield mesh
    finally:
        mesh.stop()


def on_a_mesh_of_its_own(disturb: Disturb, *, quiet_seconds: float, rate: float, commit: str | None = None) -> Report:
    with (
        tempfile.TemporaryDirectory(prefix="rolling-") as folder,
        two_replicas(Path(folder), offset=_OFFSET, commit=commit) as mesh,
    ):
        return asyncio.run(run_trial(mesh, disturb, quiet_seconds=quiet_seconds, rate=rate))


def told(report: Report, broken: Sequence[str]) -> int:
    """Print both. The exit status."""
    print(report)
    print(f"violated: {', '.join(broken)}" if broken else "held")
    return 1 if broken else 0


async def run_trial(mesh: MeshProcess, disturb: Disturb, *, quiet_seconds: float, rate: float) -> Report:
    cluster = Cluster(mesh)
    traffic = Traffic(cluster, mesh.credentials.api_key)
    seen = traffic.seen
    async with cluster.watching(), traffic.open():
        async with traffic.flowing(rate):
            await asyncio.sleep(_WARM_UP_SECONDS)
            began = time.monotonic()
            await asyncio.sleep(quiet_seconds)
            loud = time.monotonic()
            disturbances = await disturb(cluster)
            over = time.monotonic()
        async with mesh.client() as client:
            ends = await until_all_ended(mesh, client, [*seen.started])
    return Report(
        disturbances=disturbances,
        seconds=over - loud,
        runs=len(seen.started),
        requests=len(seen.asked),
        failed=tuple(seen.failed()),
        lost=tuple(seen.lost()),
        repeated=tuple(seen.repeated()),
        of_runs=(seen.p95_of_runs(began, loud), seen.p95_of_runs(loud, over)),
        of_requests=(seen.p95_of_requests(began, loud), seen.p95_of_requests(loud, over)),
        not_completed={run: str(end["status"]) for run, end in ends.items() if end["status"] != "completed"},
    )
