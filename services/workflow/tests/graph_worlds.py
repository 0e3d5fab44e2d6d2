"""The far side of random workflows' effects, and a run of one in memory, interleaved at random and crashed at will."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from random import Random
from typing import Literal
from uuid import uuid4

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow import Definition
from crewmesh_contracts.workflow.nodes.base import NodeBase
from crewmesh_contracts.workflow.nodes.http import HttpNode
from crewmesh_kit.db.database import Database
from crewmesh_kit.errors import GatewayTimeout, InvalidRequest
from crewmesh_workflow.engine.commits import Ack, Commit, Run
from crewmesh_workflow.engine.execution import Execution
from crewmesh_workflow.engine.outcome import DriveInput
from crewmesh_workflow.engine.places import node_at
from crewmesh_workflow.engine.steps import Cancelled, End, Failed, Finished, Step, StepError
from crewmesh_workflow.engine.turn import Facts, Ready, Turn
from crewmesh_workflow.nodes import all_kinds, http
from crewmesh_workflow.nodes.base import Behaviour, CompiledEffect, EffectContext, NodeKind, Reader, kind
from crewmesh_workflow.program.compile import compile_program
from crewmesh_workflow.program.model import Program
from psycopg.rows import DictRow

from services.workflow.tests.conftest import Bench, make_bench
from services.workflow.tests.graph_reference import Outcome, far_side
from services.workflow.tests.graph_strategies import ATTEMPTS, DOWN, FLAKY, FLAKY_FAILURES, RACER, REFUSED, Case


@dataclass(slots=True)
class FarSide:
    """Knows each effect by its path. What happened stays so, whoever of us has crashed since."""

    failures: Counter[str] = field(default_factory=Counter[str])
    happened: list[str] = field(default_factory=list[str])

    def ask(self, path: str, request: JsonObject) -> JsonObject | None:
        """The output; nothing when it fails this time."""
        how = str(request["url"]).rsplit("/", 1)[1]
        if how in (DOWN, REFUSED) or (how == FLAKY and self.failures[path] < FLAKY_FAILURES):
            self.failures[path] += 1
            return None
        if path not in self.happened:
            self.happened.append(path)
        body = request["body"]
        assert isinstance(body, dict)
        return far_side(path, body["number"])


def compiled(case: Case) -> Program:
    return compile_program(Definition.model_validate(case.definition), all_kinds())


@dataclass(slots=True)
class _Journal:
    steps: dict[str, Step] = field(default_factory=dict[str, Step])
    failing: Failed | Cancelled | None = None
    end: End | None = None
    commits: int = 0

    def write(self, turn: Turn) -> None:
        self.steps |= turn.changed
        self.failing = turn.failing or self.failing
        self.end = turn.end
        self.commits += 1


@dataclass(slots=True)
class MemoryRun:
    """Drives an execution as a worker does. ``crashes``: the numbers of the commits after which the worker is gone.

    A worker that is gone takes with it what it did since: effects that happened on the far side are not in the journal.
    ``cancelled_after``: the number of the commit after which somebody cancels the run.
    """

    program: Program
    data: JsonObject
    dice: Random
    crashes: Collection[int] = ()
    cancelled_after: int = 0
    far: FarSide = field(default_factory=FarSide)
    journal: _Journal = field(default_factory=_Journal)

    def to_its_end(self) -> Outcome:
        while self.journal.end is None:
            self._one_life()
        return self._outcome(self.journal.end)

    def _one_life(self) -> None:
        facts = Facts("run_random", {"data": self.data})
        execution = Execution(self.program, facts, dict(self.journal.steps), self.journal.failing)
        turn = execution.begin()
        pending: dict[str, Ready] = {}
        late: list[Step] = []  # what ended while the run was cancelled
        while True:
            self.journal.write(turn)
            if self.journal.end is not None:
                return
            pending |= {ready.step.path: ready for ready in turn.ready}
            for path in turn.stopped:
                pending.pop(path, None)
            assert pending or late, "the run neither ends nor does anything"
            results = late + [self._perform(pending.pop(path)) for path in self._some(pending)]
            if self.journal.commits in self.crashes:
                return
            cancelled = self._is_cancelled()
            turn = execution.cancel() if cancelled else execution.happened(results)
            late = results if cancelled else []

    def _is_cancelled(self) -> bool:
        return 0 < self.cancelled_after <= self.journal.commits and self.journal.failing is None

    def to_be_undone(self) -> list[str]:
        """The compensations that belong to what was done, the last first. What failed and was handled was not."""
        completed = [step for step in self.journal.steps.values() if step.status == "completed"]
        done = [step for step in completed if step.error is None and "!" not in step.path]
        done.sort(key=lambda step: step.finished or 0, reverse=True)
        nodes = ((step.path, node_at(self.program, step.path)) for step in done)
        return [f"{path}!undo" for path, node in nodes if node is not None and node.undo is not None]

    def _some(self, pending: dict[str, Ready]) -> list[str]:
        return self.dice.sample([*pending], self.dice.randint(min(1, len(pending)), len(pending)))

    def _perform(self, ready: Ready) -> Step:
        step = ready.step
        output = self.far.ask(step.path, step.input or {})
        if output is not None:
            return step.completed(output)
        error = StepError("far-side-failed", "It did not work.")
        if step.attempt >= ATTEMPTS or str((step.input or {})["url"]).endswith(REFUSED):
            return step.failed(error)
        return step.again(error, 0.0)

    def _outcome(self, end: End) -> Outcome:
        steps = self.journal.steps.values()
        return Outcome(
            status=_STATUS[type(end)],
            output=end.output if isinstance(end, Finished) else None,
            completed={step.path: comparable(step.output or {}) for step in steps if _counts(step, "completed")},
            skipped={step.path for step in steps if _counts(step, "skipped")},
            effects=[path for path in self.far.happened if RACER not in path],
        )


_STATUS: dict[type[End], Literal["completed", "failed", "cancelled"]] = {
    Finished: "completed",
    Failed: "failed",
    Cancelled: "cancelled",
}


def _counts(step: Step, status: str) -> bool:
    return step.status == status and RACER not in step.path


def comparable(output: JsonObject) -> JsonObject:
    """Without what the reference does not know: the words of errors, and who came to a join."""
    if "error" in output or "arrived" in output:
        return {}
    errors = output.get("errors")
    if not isinstance(errors, list):
        return output
    failed: list[JsonValue] = [error["index"] for error in errors if isinstance(error, dict)]
    return {"items": output["items"], "failed": failed, "count": output["count"]}


def http_to(far: FarSide) -> NodeKind[NodeBase]:
    """HTTP as ever, but for where it goes."""

    async def run(request: JsonObject, context: EffectContext) -> JsonObject:
        output = far.ask(context.key.split("/", 1)[1], request)
        if output is not None:
            return output
        raise InvalidRequest("It refuses.") if str(request["url"]).endswith(REFUSED) else GatewayTimeout("It is down.")

    def bind(node: HttpNode, read: Reader) -> Behaviour:
        effect = http.KIND.bind(node, read)
        assert isinstance(effect, CompiledEffect)
        return replace(effect, run=run)

    return kind(HttpNode, bind)


@dataclass(slots=True)
class JournalledRun:
    """The same by the engine itself, on a real journal. A worker that crashes is a replica that is gone for good."""

    case: Case
    crashes: Collection[int]
    far: FarSide = field(default_factory=FarSide)
    commits: int = 0

    async def to_its_end(self, url: str) -> Outcome:
        async with Database.open(url, app_id="workflow", pool_max=4) as database:
            bench = self._replica(database)
            run = await self._start(bench)
            await _quiet(bench)
            while (row := await bench.row(run))["status"] not in ("completed", "failed"):
                bench = self._replica(database)
                drive = DriveInput(run=run, driver=row["driver"] + 1, epoch=row["epoch"])
                bench.tasks.append(asyncio.create_task(bench.parts.engine.advance(drive)))
                await _quiet(bench)
            return await self._outcome(bench, row)

    def _replica(self, database: Database) -> Bench:
        bench = make_bench(database, slots=8, kinds=all_kinds().but(http_to(self.far)))
        commit_only = bench.parts.journal.commit

        async def commit_and_crash(run: Run, commit: Commit, *, keep_days: int | None = None) -> Ack:
            ack = await commit_only(run, commit, keep_days=keep_days)
            self.commits += 1
            if self.commits in self.crashes:
                for task in bench.tasks:
                    task.cancel()
                await asyncio.sleep(0)
            return ack

        bench.parts.journal.commit = commit_and_crash
        return bench

    async def _start(self, bench: Bench) -> str:
        definition = {
            name: part for name, part in self.case.definition.items() if name not in ("nodes", "edges", "name")
        }
        nodes, edges = self.case.definition["nodes"], self.case.definition["edges"]
        assert isinstance(nodes, list)
        assert isinstance(edges, list)
        workflow = await bench.save(nodes, edges, **definition)
        return await bench.start(workflow, self.case.data, event_id=uuid4().hex)

    async def _outcome(self, bench: Bench, row: DictRow) -> Outcome:
        steps = {path: step for path, step in (await bench.steps(row["id"])).items() if RACER not in path}
        ends = Counter(path for _, type_, path in await bench.events(row["id"]) if type_ == "step.completed")
        assert set(ends.values()) <= {1}, "a step's end was told twice"
        return Outcome(
            status=row["status"],
            output=row["output"],
            completed={
                path: comparable(step["output"]) for path, step in steps.items() if step["status"] == "completed"
            },
            skipped={path for path, step in steps.items() if step["status"] == "skipped"},
            effects=[path for path in self.far.happened if RACER not in path],
        )


async def _quiet(bench: Bench) -> None:
    """Until the replica does nothing any more, of itself or because it crashed."""
    while pending := [task for task in bench.tasks if not task.done()]:
        await asyncio.gather(*pending, return_exceptions=True)
