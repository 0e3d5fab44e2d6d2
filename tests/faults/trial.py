"""One trial: runs of every shape are under way, something breaks at a random moment, and the oracle looks at the end.

The oracle: no acknowledged start is missing, every run ends as it should, each effect came once per key, and nothing is
shown as done that the world did not see.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from crewmesh_testkit.mesh import JsonDict, MeshClient, MeshProcess
from crewmesh_testkit.polling import until

from tests.faults.breakage import FAULTS
from tests.faults.workload import CHILD_EFFECTS, Started, Workload
from tests.faults.world import World, deciding, now

SEED = int(os.environ.get("CREWMESH_FAULT_SEED", "0")) or random.SystemRandom().randrange(1, 1_000_000)

_ENDS = ("completed", "failed", "cancelled")
_ALL_ENDED_WITHIN = 600.0
_STARTS_AT_A_TIME, _LOOKS_AT_A_TIME = 20, 10
# What integration wrote of an attempt that a second one may follow: no answer, or one that asks to come again.
_OPEN = {"unavailable"}


@dataclass(frozen=True, slots=True)
class Report:
    fault: str
    seed: int
    runs: int
    broken_after: int
    quiet_seconds: float
    ended_seconds: float
    repeated: int
    violations: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        verdict = "; ".join(self.violations) or "nothing lost, nothing twice"
        return (
            f"{self.fault}, seed {self.seed}: after {self.broken_after} effects of {self.runs} runs; longest silence "
            f"{self.quiet_seconds:.1f} s, all ended {self.ended_seconds:.1f} s after it; {verdict}"
        )


async def run_trial(mesh: MeshProcess, fault: str, *, seed: int, runs: int) -> Report:
    dice = random.Random(f"{seed}/{fault}")
    world = World(dice)
    tag = f"{dice.getrandbits(48):012x}"
    known: set[str] = set()
    async with world.receiver, mesh.client() as client, deciding(client, world, known):
        workload = Workload(client, url=world.receiver.url("/effects"), tag=tag)
        await workload.install()
        breaks_after = _moment(dice, workload, runs)
        print(f"{fault}: after {breaks_after} effects (repeat with CREWMESH_FAULT_SEED={seed})", flush=True)
        starting = asyncio.create_task(_start_all(workload, runs, known))
        # A start that fails must be told, and not the effects that then never come.
        await until(
            lambda: world.effects >= breaks_after or starting.done(), seconds=240, every=0.01, what="enough effects"
        )
        began = now()
        await FAULTS[fault](mesh, dice)
        over = now()
        started = await starting
        ends = await until_all_ended(mesh, client, [each.run for each in started])
        ended = now()
        doubtful = await _may_repeat(client, fault, world)
    # A freeze is part of the silence, and of nobody's recovery.
    return Report(
        fault=fault,
        seed=seed,
        runs=runs,
        broken_after=breaks_after,
        quiet_seconds=world.longest_quiet(began),
        ended_seconds=ended - over,
        repeated=sum(count - 1 for count in world.counts().values()),
        violations=tuple(_judge(started, ends, world, doubtful)),
    )


def _moment(dice: random.Random, workload: Workload, runs: int) -> int:
    effects = sum(len(workload.shapes[number % len(workload.shapes)].effects) for number in range(runs))
    return dice.randrange(3, effects * 6 // 10)


async def _start_all(workload: Workload, runs: int, known: set[str]) -> list[Started]:
    turnstile = asyncio.Semaphore(_STARTS_AT_A_TIME)

    async def start(number: int) -> Started:
        async with turnstile:
            started = await workload.start(number)
        known.add(started.run)
        return started

    return await asyncio.gather(*(start(number) for number in range(runs)))


async def until_all_ended(mesh: MeshProcess, client: MeshClient, runs: Sequence[str]) -> dict[str, JsonDict]:
    """Run id → what the API shows of it, once none is in flight. A run that is not there is shown as such."""
    ended: dict[str, JsonDict] = {}
    shown: dict[str, str] = {}
    turnstile = asyncio.Semaphore(_LOOKS_AT_A_TIME)

    async def look(run: str) -> None:
        async with turnstile:
            answer = await client.try_get(f"/v1/runs/{run}")
        shown[run] = "no answer" if answer is None else f"{answer.status} {answer.body.get('status', '')}"
        if answer is None or answer.status >= 500:
            return
        if answer.status != 200 or answer.body["status"] in _ENDS:
            ended[run] = answer.body if answer.status == 200 else {"status": f"shown as {answer.status}"}

    async def all_ended() -> bool:
        await asyncio.gather(*(look(run) for run in runs if run not in ended))
        return len(ended) == len(runs)

    def how_far() -> str:
        left = Counter(last for run, last in shown.items() if run not in ended)
        return f"{len(runs)} runs to end; {len(ended)} did, the others: {dict(left)}\n{mesh.late()}"

    await until(all_ended, seconds=_ALL_ENDED_WITHIN, every=1.0, what=how_far)
    return ended


async def _may_repeat(client: MeshClient, fault: str, world: World) -> set[str]:
    """Effects that came again although nobody knew that they had come before, as integration's own records say.

    Each request that arrived must be an attempt that is on record; of all but one, the answer was not known. Only when
    integration itself dies may an attempt be left as under way: nobody could write down what came of it.
    """
    open_ = {*_OPEN, "sending"} if fault in ("kill integration", "kill everything") else _OPEN
    doubtful: set[str] = set()
    for key, count in world.counts().items():
        if count > 1:
            attempts = await client.read(f"/v1/deliveries?idempotency_key={quote(key, safe='')}")
            outcomes = [attempt["outcome"] for attempt in attempts["items"]]
            known = [outcome for outcome in outcomes if outcome not in open_]
            print(f"{key} came {count} times; on record: {outcomes}")
            if len(known) <= 1 and len(outcomes) >= count:
                doubtful.add(key)
    return doubtful


def _judge(started: Sequence[Started], ends: dict[str, JsonDict], world: World, may_repeat: set[str]) -> list[str]:
    violations: list[str] = []
    if len({each.run for each in started}) < len(started):
        violations.append("two starts share a run")
    expected: set[str] = set()
    for each in started:
        shown = ends[each.run]
        if shown["status"] != "completed":
            violations.append(f"{each.shape.name} {each.run} is {shown['status']}: {shown.get('error')}")
        expected |= expected_effects(each, shown)
    seen = world.counts()
    for each in started:
        if each.shape.name == "unsafe":  # that one never comes twice, whoever dies
            may_repeat = may_repeat - {f"{each.run}/once"}
    missing, strange = expected - set(seen), set(seen) - expected
    twice = {key: count for key, count in seen.items() if count > 1 and key not in may_repeat}
    violations += [f"{len(missing)} effects shown as done never came: {_some(missing)}"] if missing else []
    violations += [f"{len(strange)} effects came that nobody knows of: {_some(strange)}"] if strange else []
    violations += [f"{len(twice)} effects came more than once: {_some(twice)}"] if twice else []
    return violations


def expected_effects(started: Started, shown: JsonDict) -> set[str]:
    if shown["status"] != "completed":
        return set()
    keys = {f"{started.run}/{path}" for path in started.shape.effects}
    if started.shape.name == "child":
        keys |= {f"{shown['output']['child']}/{path}" for path in CHILD_EFFECTS}
    return keys


def _some(keys: Iterable[str]) -> str:
    return ", ".join(sorted(keys)[:3])
