"""Our side: the workflow service's engine as its service assembles it, with five effects that do nothing.

Everything else is as in production: an event is accepted, a run is written, every step is committed with its events
before the next begins, RunStarted and RunCompleted go through the outbox to the broker, followers are signalled.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import crewmesh_workflow
from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.events import CloudEvent
from crewmesh_contracts.invocations import HttpSend
from crewmesh_contracts.workflow import Definition
from crewmesh_contracts.workflow.nodes import HttpNode
from crewmesh_kit.background import Background
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.parts import open_database
from crewmesh_kit.identity import Identity
from crewmesh_kit.ids import new_id
from crewmesh_kit.settings import DatabaseSettings
from crewmesh_kit.signals import Signals
from crewmesh_workflow.definitions import repository as definitions
from crewmesh_workflow.engine.assembly import assemble
from crewmesh_workflow.engine.outcome import DriveInput
from crewmesh_workflow.expressions import Scope
from crewmesh_workflow.nodes.base import EffectContext, EffectKinds, ExpressionReader, effect_kind
from crewmesh_workflow.settings import EngineSettings
from crewmesh_workflow.triggers.service import Triggers

from tests.load.chain import EFFECTS, ONE_RESULT
from tests.load.sidecar import Bench

_MIGRATIONS = Path(crewmesh_workflow.__file__).parents[2] / "migrations"
_EVENT_TYPE = "bench.five.effects"
_WHO = Identity(new_id("org"), "bench", frozenset({"*"}))


class EngineSide:
    """Starts runs and waits for their ends."""

    def __init__(self, database: Database) -> None:
        self.triggers: Triggers
        self._database = database
        self._running: dict[str, asyncio.Task[object]] = {}
        self._numbers = count()

    def spawn(self, background: Background) -> Callable[[str, Coroutine[object, object, object]], asyncio.Task[object]]:
        def start(name: str, work: Coroutine[object, object, object]) -> asyncio.Task[object]:
            task = self._running[name.removeprefix("run ")] = background.start(name, work)
            return task

        return start

    async def one_run(self) -> None:
        """From the event to the commit that ends the run."""
        event = CloudEvent(id=str(next(self._numbers)), source="/bench", type=_EVENT_TYPE, data={"subject": "bench"})
        accepted = await self.triggers.accept(_WHO, event, key=None)
        (run,) = accepted.runs
        await self._running.pop(run)

    async def check(self, runs: int) -> None:
        """That every run has ended well, with all its steps in the journal."""
        async with self._database.system() as conn:
            cursor = await conn.execute(
                "SELECT (SELECT count(*) FROM runs WHERE status = 'completed') AS completed,"
                " (SELECT count(*) FROM runs) AS runs,"
                " (SELECT count(*) FROM steps WHERE status = 'completed') AS steps"
            )
            found = await cursor.fetchone()
        expected = {"completed": runs, "runs": runs, "steps": runs * EFFECTS}
        if found != expected:
            raise RuntimeError(f"the journal holds {found}, not {expected}")


@asynccontextmanager
async def open_engine(bench: Bench) -> AsyncGenerator[EngineSide]:
    background = Background()
    async with (
        Sidecar("workflow", bench.dapr) as sidecar,
        Signals.open(bench.redis_url, app_id="bench") as signals,
        open_database(
            bench.engine_url,
            app_id="workflow",
            settings=DatabaseSettings(),
            migrations=_MIGRATIONS,
            publisher=sidecar,
            hold=background.hold,
        ) as parts,
    ):
        side = EngineSide(parts.database)
        assembly = assemble(
            EngineSettings(),
            database=parts.database,
            caller=sidecar,
            blobs=sidecar.blobs,
            kinds=EffectKinds((_TRIVIAL,)),
            schedule=_nobody_drives,
            spawn=side.spawn(background),
            moved=signals.notify,
        )
        side.triggers = Triggers(parts.database, assembly.starter, parts.idempotency)
        for name, run in {**parts.loops, "leases": assembly.leases.run, "sweeper": assembly.sweeper.run}.items():
            background.supervise(name, run)
        async with parts.database.tenant(_WHO.organization) as conn:
            await definitions.add(conn, _WHO.organization, _definition())
        try:
            yield side
        finally:
            await background.close()


async def _nobody_drives(drive: DriveInput) -> None:
    raise RuntimeError(f"run {drive.run} was handed to Dapr, which does not belong into this measurement")


def _definition() -> Definition:
    """Five effects in a row; each reads the event, and all but the first the result before it."""
    nodes = [
        {
            "id": f"effect-{n}",
            "kind": "http",
            "url": "http://nowhere.invalid/",
            "body": {"subject": "{{ trigger.data.subject }}"}
            | ({"before": f"{{{{ steps.effect-{n - 1}.output.status }}}}"} if n else {}),
        }
        for n in range(EFFECTS)
    ]
    edges = [{"from": f"effect-{n}", "to": f"effect-{n + 1}"} for n in range(EFFECTS - 1)]
    return Definition.model_validate(
        {
            "name": "Five effects",
            "triggers": [{"kind": "event", "type": _EVENT_TYPE}],
            "nodes": nodes,
            "edges": edges,
            "output": {"last": f"{{{{ steps.effect-{EFFECTS - 1}.output.status }}}}"},
        }
    )


def _compile(node: HttpNode, read: ExpressionReader) -> Callable[[Scope], HttpSend]:
    body = read.template("body", node.body)
    return lambda scope: HttpSend(method=node.method, url=node.url, headers={}, body=body.value(scope))


async def _do_nothing(_request: HttpSend, _context: EffectContext) -> JsonObject:
    return dict(ONE_RESULT)


_TRIVIAL = effect_kind(node=HttpNode, request=HttpSend, compile_=_compile, run=_do_nothing)
