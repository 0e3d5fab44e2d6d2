"""What reaches a run from outside: cancelled, paused, resumed, woken; runs of other workflows; limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.invocations import SEARCH, SearchHit, SearchRequest, SearchResult
from crewmesh_kit.signals import cancelled
from crewmesh_testkit import polling
from crewmesh_testkit.identities import ORGANIZATION, OTHER_ORGANIZATION
from crewmesh_workflow.engine.admission import QueueFull, WorkflowBusy
from crewmesh_workflow.engine.children import Children
from crewmesh_workflow.engine.commits import Run
from crewmesh_workflow.engine.execution import Execution
from crewmesh_workflow.engine.outcome import Done, DriveInput, Superseded
from crewmesh_workflow.engine.slots import Slots
from crewmesh_workflow.engine.turn import Turn
from crewmesh_workflow.settings import EngineSettings

from services.workflow.tests.conftest import Bench, empty, replica

APPROVAL: JsonObject = {"id": "ok", "kind": "approval", "title": "?"}
ASKING: tuple[list[JsonValue], list[JsonValue]] = (
    [APPROVAL, {"id": "then", "kind": "set", "variables": {"done": True}}],
    [{"from": "ok", "to": "then", "port": "approved"}],
)
YES: JsonObject = {"approved": True, "data": None, "decisions": []}


def search(id_: str = "s", **more: JsonValue) -> JsonObject:
    return {"id": id_, "kind": "knowledge.search", "knowledge_base": "kb", "query": "q", **more}


async def found(request: SearchRequest) -> SearchResult:
    return SearchResult(hits=(SearchHit(document="d", title="T", position=0, text="t", score=1.0),))


@asynccontextmanager
async def controlled(bench: Bench) -> AsyncGenerator[None]:
    """With everything kept running that follows from control, drivers as well."""
    bench.live = True
    loops = [asyncio.ensure_future(run()) for run in bench.parts.loops.values()]
    try:
        yield
    finally:
        await cancelled(loops)


async def until(bench: Bench, run: str, status: str) -> None:
    async def there() -> bool:
        return (await bench.row(run))["status"] == status

    await polling.until(there, seconds=60, what=f"{run} to be {status}", every=0.01)


async def ask(bench: Bench, what: str, run: str, organization: str = ORGANIZATION) -> bool:
    async with bench.database.tenant(organization) as conn:
        return await getattr(bench.parts.control, what)(conn, run)


async def arrive(bench: Bench, run: str, path: str = "ok") -> bool:
    async with bench.database.tenant(ORGANIZATION) as conn:
        return await bench.parts.control.arrive(conn, run, path, YES)


@asynccontextmanager
async def small_organization(url: str) -> AsyncGenerator[Bench]:
    """A replica that lets two runs of an organization work, and one wait, on empty tables; what they do takes long."""
    settings = EngineSettings(inline_slots=8, organization_runs=2, organization_queue=1)
    async with replica(url, settings=settings) as bench:
        await empty(bench.database)
        Held(bench)
        yield bench


class Held:
    """An effect that takes until it is let go."""

    def __init__(self, bench: Bench) -> None:
        self.begun, self.go, self.stopped = asyncio.Event(), asyncio.Event(), asyncio.Event()
        bench.sidecar.answer(SEARCH, self._answer)

    async def _answer(self, request: SearchRequest) -> SearchResult:
        self.begun.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.stopped.set()
            raise
        return await found(request)


class TestCancel:
    async def test_reaches_an_effect_that_is_under_way(self, bench: Bench) -> None:
        held = Held(bench)
        run = await bench.start(await bench.save([search("a"), search("b")], [{"from": "a", "to": "b"}]))
        await held.begun.wait()
        async with controlled(bench):
            assert await ask(bench, "cancel", run)
            await until(bench, run, "cancelled")
        async with asyncio.timeout(60):
            await held.stopped.wait()
        assert [type_ for _, type_, _ in await bench.events(run)] == [
            "run.started", "step.started", "step.cancelled", "run.cancelled",
        ]  # fmt: skip
        assert "crewmesh.run.cancelled.v1" in await bench.told()
        assert not await ask(bench, "cancel", run), "it has ended"

    async def test_wakes_a_run_that_waits(self, bench: Bench) -> None:
        async with controlled(bench):
            run = await bench.start(await bench.save(*ASKING))
            await until(bench, run, "waiting")
            assert await ask(bench, "cancel", run)
            await until(bench, run, "cancelled")
        assert bench.raised == [(f"{run}-1", "wake-1", True)]
        assert not await arrive(bench, run)

    async def test_another_organization_cannot(self, bench: Bench) -> None:
        run = await bench.start(await bench.save(*ASKING))
        await bench.settle()
        for what in ("cancel", "pause", "resume"):
            assert not await ask(bench, what, run, OTHER_ORGANIZATION)
        assert (await bench.row(run))["status"] == "waiting"


class TestPause:
    async def test_lets_what_is_under_way_end_and_begins_nothing(self, bench: Bench) -> None:
        held = Held(bench)
        run = await bench.start(await bench.save([search("a"), search("b")], [{"from": "a", "to": "b"}]))
        await held.begun.wait()
        async with controlled(bench):
            assert await ask(bench, "pause", run)
            await bench.parts.leases.extend()
            held.go.set()
            await until(bench, run, "paused")
            assert len(bench.sidecar.calls) == 1
            assert (await bench.row(run))["due_at"] is None
            assert await ask(bench, "resume", run)
            await until(bench, run, "completed")
        types = [type_ for _, type_, _ in await bench.events(run)]
        assert types.index("run.paused") < types.index("run.resumed")
        assert types.count("step.completed") == 2

    async def test_of_a_run_that_waits_what_arrives_is_kept(self, bench: Bench) -> None:
        run = await bench.start(await bench.save(*ASKING))
        await bench.settle()
        assert await ask(bench, "pause", run)
        assert await arrive(bench, run)
        assert (await bench.row(run))["status"] == "paused"
        (driver,) = bench.scheduled
        assert await bench.parts.engine.advance(driver) == Superseded()
        async with controlled(bench):
            assert await ask(bench, "resume", run)
            await until(bench, run, "completed")


class TestArrivals:
    async def test_the_first_counts(self, bench: Bench) -> None:
        run = await bench.start(await bench.save(*ASKING))
        await bench.settle()
        told = await asyncio.gather(*(arrive(bench, run) for _ in range(20)))
        assert told.count(True) == 1
        await bench.drive()
        assert (await bench.row(run))["status"] == "completed"
        assert [row["status"] for row in await bench.database.statement("SELECT status FROM waits")] == ["closed"]
        assert not await arrive(bench, run)
        assert not await arrive(bench, run, "nowhere")

    async def test_one_that_comes_while_the_run_is_given_away_is_seen(self, bench: Bench) -> None:
        """It came after the worker looked, and before its commit: the commit does not give the run away."""
        held = Held(bench)
        run = await bench.start(await bench.save([*ASKING[0], search()], ASKING[1]))
        await held.begun.wait()
        assert await arrive(bench, run)
        held.go.set()
        await bench.settle()
        assert (await bench.row(run))["status"] == "completed"
        assert bench.scheduled == []

    async def test_a_run_that_its_driver_has_taken_is_not_taken_from_it_here(self, bench: Bench) -> None:
        """Its time came just when something arrived."""
        run = await bench.start(await bench.save(*ASKING))
        await bench.settle()
        (driver,) = bench.scheduled
        assert await arrive(bench, run)
        assert await bench.parts.journal.acquire(driver) is not None
        assert await bench.parts.journal.acquire(driver, here=True) is None
        assert await bench.parts.journal.acquire(driver) is not None, "it may come again"

    async def test_a_driver_that_cannot_be_woken_is_replaced(self, bench: Bench) -> None:
        run = await bench.start(await bench.save(*ASKING))
        await bench.settle()

        def full(drive: DriveInput) -> bool:
            return False

        bench.parts.control._drive_here = full  # pyright: ignore[reportPrivateUsage]

        async def lost(instance: str, event: str, leave: bool) -> None:
            raise ConnectionError("no such instance")

        bench.parts.control._raise = lost  # pyright: ignore[reportPrivateUsage]
        async with controlled(bench):
            assert await arrive(bench, run)
            await until(bench, run, "completed")


class TestChildren:
    async def test_the_parent_goes_on_with_the_result(self, bench: Bench) -> None:
        bench.sidecar.answer(SEARCH, found)
        child = await bench.save([search()], output={"double": "{{ trigger.data.n }}"})
        call: JsonObject = {
            "id": "call",
            "kind": "workflow",
            "workflow": child,
            "inputs": {"n": "{{ trigger.data.n }}"},
        }
        run = await bench.start(
            await bench.save([call], output={"got": "{{ steps.call.output.output.double }}"}), {"n": 7}
        )
        async with controlled(bench):
            await until(bench, run, "completed")
        assert (await bench.row(run))["output"] == {"got": 7}

    async def test_a_result_that_the_journal_holds_by_reference_arrives_whole(self, bench: Bench) -> None:
        """To a run that rests, and to one that a worker holds in memory."""
        child = await bench.save(*ASKING, output={"large": "x" * 100_000})
        call: JsonObject = {"id": "call", "kind": "workflow", "workflow": child}
        size = "{{ steps.call.output.output.large | length }}"
        resting = await bench.start(await bench.save([call], output={"size": size}))
        held = Held(bench)
        at_work = await bench.start(await bench.save([call, search()], output={"size": size}), event_id="e2")
        await held.begun.wait()
        async with controlled(bench):
            for run in await bench.children(resting, at_work):
                await until(bench, run, "waiting")
                assert await arrive(bench, run)
            await until(bench, resting, "completed")

            async def taken() -> bool:
                return (await bench.steps(at_work))["call"]["status"] == "completed"

            await polling.until(taken, seconds=60, what="the worker to take the result", every=0.01)
            held.go.set()
            await until(bench, at_work, "completed")
        for run in (resting, at_work):
            assert (await bench.row(run))["output"] == {"size": 100_000}

    async def test_what_somebody_else_tells_is_not_taken_for_a_reference(self, bench: Bench) -> None:
        told: JsonObject = {"happened": True, "output": {"$blob": "of theirs"}, "by": "ada"}
        run = await bench.start(await bench.save(*ASKING))
        await bench.settle()
        async with bench.database.tenant(ORGANIZATION) as conn:
            assert await bench.parts.control.arrive(conn, run, "ok", told)
        assert await bench.parts.journal.arrived(run) == {"ok": told}
        stowed = await bench.parts.payloads.stow({"$blob": "of theirs"})
        assert await bench.parts.payloads.fetch(stowed) == {"$blob": "of theirs"}

    async def test_a_workflow_that_is_not_there_fails_the_step(self, bench: Bench) -> None:
        run = await bench.start(await bench.save([{"id": "call", "kind": "workflow", "workflow": "nobody"}]))
        await bench.settle()
        assert (await bench.row(run))["error"]["type"] == "no-such-workflow"

    async def test_a_fault_of_ours_fails_the_step_and_does_not_hold_the_run_for_ever(
        self, bench: Bench, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def buggy(self: Children, run: Run, path: str, workflow: str, inputs: JsonObject) -> str:
            raise ZeroDivisionError

        monkeypatch.setattr(Children, "start", buggy)
        run = await bench.start(await bench.save([{"id": "call", "kind": "workflow", "workflow": "any"}]))
        await bench.settle()
        assert (await bench.row(run))["error"]["type"] == "internal-error"

    async def test_cancelling_the_parent_cancels_the_child(self, bench: Bench) -> None:
        child = await bench.save(*ASKING)
        parent = await bench.save([{"id": "call", "kind": "workflow", "workflow": child}])
        async with controlled(bench):
            run = await bench.start(parent)
            await until(bench, run, "waiting")
            assert await ask(bench, "cancel", run)

            async def all_cancelled() -> bool:
                rows = await bench.database.statement("SELECT status FROM runs")
                return {row["status"] for row in rows} == {"cancelled"}

            await polling.until(all_cancelled, seconds=60, what="both runs to be cancelled", every=0.01)


class TestLimits:
    async def test_a_workflow_runs_no_more_often_than_it_may(self, bench: Bench) -> None:
        held = Held(bench)
        workflow = await bench.save([search()], settings={"concurrency": {"limit": 2}})
        runs = [await bench.start(workflow, event_id=f"e{n}") for n in range(5)]
        rows = [(await bench.row(run))["status"] for run in runs]
        assert rows == ["running", "running", "queued", "queued", "queued"]
        held.go.set()
        async with controlled(bench):
            for run in runs:
                await until(bench, run, "completed")
        started = [await bench.events(run) for run in runs]
        assert [events[1][1] for events in started].count("run.queued") == 3

    async def test_it_may_refuse_instead(self, bench: Bench) -> None:
        Held(bench)
        workflow = await bench.save([search()], settings={"concurrency": {"limit": 1, "when_full": "refuse"}})
        await bench.start(workflow)
        with pytest.raises(WorkflowBusy) as refused:
            await bench.start(workflow, event_id="e2")
        assert refused.value.headers["Retry-After"] == "5"
        assert "at work: 1, which is its limit" in refused.value.detail

    async def test_an_organization_has_a_limit_and_its_queue_has_one(self, url: str) -> None:
        async with small_organization(url) as bench:
            workflow = await bench.save([search()])
            for number in range(2):
                await bench.start(workflow, event_id=f"a{number}")
            await bench.parts.admission.let_in()
            queued = await bench.start(workflow, event_id="b")
            assert (await bench.row(queued))["status"] == "queued"
            with pytest.raises(QueueFull):
                await bench.start(workflow, event_id="c")

    async def test_a_run_that_takes_too_long_fails(self, bench: Bench) -> None:
        Held(bench)
        run = await bench.start(await bench.save([search()], settings={"timeout_seconds": 0.1}))
        await bench.settle()
        assert (await bench.row(run))["error"]["type"] == "run-timed-out"


class TestSlots:
    async def test_organizations_take_turns_and_priority_goes_first(self) -> None:
        slots, order = Slots(1, queue=10), list[str]()
        go = asyncio.Event()

        async def work(organization: str, name: str, priority: int = 5) -> None:
            async with slots.slot(organization, priority=priority):
                await go.wait()
                order.append(name)

        async with asyncio.TaskGroup() as group:
            for organization, name, priority in (
                ("a", "a1", 5), ("a", "a2", 5), ("a", "a3", 9), ("b", "b1", 5), ("b", "b2", 5),
            ):  # fmt: skip
                group.create_task(work(organization, name, priority))
                await asyncio.sleep(0)
            go.set()
        assert order == ["a1", "a3", "b1", "a2", "b2"]
        assert slots.reserve()
        assert not slots.reserve()

    async def test_who_gives_up_waiting_costs_no_slot(self) -> None:
        slots = Slots(1, queue=1)
        async with slots.slot("a"):
            waiting = asyncio.create_task(slots.slot("a").__aenter__())
            await asyncio.sleep(0)
            assert not slots.room()
            waiting.cancel()
            with suppress(asyncio.CancelledError):
                await waiting
        assert slots.reserve()
        assert not slots.reserve()
        assert not Slots(0, queue=5).room()


async def test_a_driver_of_a_run_that_ended_has_nothing_to_do(bench: Bench) -> None:
    run = await bench.start(await bench.save(*ASKING))
    await bench.settle()
    await arrive(bench, run)
    (driver,) = bench.scheduled
    assert await bench.parts.engine.advance(driver) == Done()
    assert await bench.parts.engine.advance(driver) == Done()


async def test_a_run_over_which_the_engine_breaks_down_is_tried_again_but_not_for_ever(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Execution) -> Turn:
        raise ZeroDivisionError("a mistake of ours")

    run = await bench.start(await bench.save(*ASKING))
    await bench.settle()
    monkeypatch.setattr(Execution, "begin", broken)
    for _ in range(4):
        row = await bench.row(run)
        with pytest.raises(ZeroDivisionError):
            await bench.parts.engine.advance(DriveInput(run=run, driver=row["driver"], epoch=row["epoch"]))
    row = await bench.row(run)
    assert row["status"] == "running"
    assert row["due_in"] > 0, "it is tried again when its lease is over"
    await bench.parts.engine.advance(DriveInput(run=run, driver=row["driver"], epoch=row["epoch"]))
    row = await bench.row(run)
    assert (row["status"], row["error"]["type"]) == ("failed", "internal-error")
    assert "broke down 5 times" in row["error"]["detail"]
