"""The engine on a real PostgreSQL: the inline path, retries, hand-over, fencing, and what a crash leaves behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.invocations import (
    SEARCH,
    SEND_HTTP,
    HttpReply,
    HttpSend,
    SearchHit,
    SearchRequest,
    SearchResult,
)
from crewmesh_kit.errors import BadGateway, OperationInProgress, Unavailable
from crewmesh_testkit.identities import ORGANIZATION
from crewmesh_workflow.engine.commits import Commit, JournalEvent, LeaseLostError
from crewmesh_workflow.engine.outcome import Done, DriveInput, Sleep, Superseded

from services.workflow.tests.conftest import Bench, replica

EVENT: JsonObject = {"question": "why?"}
FIVE: list[JsonValue] = [
    {"id": f"s{n}", "kind": "knowledge.search", "knowledge_base": "kb", "query": "{{ trigger.data.question }}"}
    for n in range(1, 6)
]
CHAIN: list[JsonValue] = [{"from": f"s{n}", "to": f"s{n + 1}"} for n in range(1, 5)]


def node(id_: str = "s", **more: JsonValue) -> JsonObject:
    return {"id": id_, "kind": "knowledge.search", "knowledge_base": "kb", "query": "q", **more}


def first_driver(run: str) -> DriveInput:
    return DriveInput(run=run, driver=1, epoch=1)


async def found(request: SearchRequest) -> SearchResult:
    hit = SearchHit(document="doc", title="T", position=0, text=f"about {request.query}", score=1.0)
    return SearchResult(hits=(hit,))


async def test_five_effects_inline(bench: Bench) -> None:
    bench.sidecar.answer(SEARCH, found)
    workflow = await bench.save(FIVE, CHAIN, output={"text": "{{ steps.s5.output.text }}"})
    run = await bench.start(workflow, EVENT)
    await bench.settle()

    row = await bench.row(run)
    assert (row["status"], row["output"], row["epoch"]) == ("completed", {"text": "T\nabout why?"}, 1)
    assert row["due_at"] is None
    assert row["finished_at"] is not None
    expected = [(1, "run.started", None)]
    for number in range(1, 6):
        expected += [(2 * number, "step.started", f"s{number}"), (2 * number + 1, "step.completed", f"s{number}")]
    assert await bench.events(run) == [*expected, (12, "run.completed", None)]
    assert [call.idempotency_key for call in bench.sidecar.calls] == [f"{run}/s{n}" for n in range(1, 6)]
    assert {call.identity.subject for call in bench.sidecar.calls} == {run}
    assert {call.identity.organization for call in bench.sidecar.calls} == {ORGANIZATION}
    assert await bench.told() == ["crewmesh.run.started.v1", "crewmesh.run.completed.v1"]
    assert bench.scheduled == []


async def test_a_run_without_effects_is_over_when_it_is_acknowledged(bench: Bench) -> None:
    decision: JsonObject = {"id": "b", "kind": "if", "condition": "has(trigger.data.question)"}
    then: JsonObject = {"id": "t", "kind": "transform", "output": {}}
    workflow = await bench.save([decision, then], [{"from": "b", "to": "t", "port": "false"}])
    run = await bench.start(workflow, EVENT)
    row = await bench.row(run)
    assert row["status"] == "completed"
    assert row["created_at"] <= row["finished_at"]
    assert await bench.events(run) == [
        (1, "run.started", None),
        (2, "step.completed", "b"),
        (3, "step.skipped", "t"),
        (4, "run.completed", None),
    ]
    assert await bench.told() == ["crewmesh.run.started.v1", "crewmesh.run.completed.v1"]


async def test_an_event_starts_a_run_once(bench: Bench) -> None:
    bench.sidecar.answer(SEARCH, found)
    workflow = await bench.save([node()])
    runs = await asyncio.gather(*(bench.start(workflow, EVENT) for _ in range(20)))
    await bench.settle()
    assert len(set(runs)) == 1
    assert len(bench.sidecar.calls) == 1
    # Every slot came back, also those of starts that found the run already there.
    others = await asyncio.gather(*(bench.start(workflow, EVENT, event_id=f"o{n}") for n in range(8)))
    await bench.settle()
    assert {(await bench.row(run))["epoch"] for run in others} == {1}
    assert bench.scheduled == []


async def test_without_a_slot_the_run_is_due_at_once_and_a_driver_finishes_it(idle: Bench) -> None:
    idle.sidecar.answer(SEARCH, found)
    run = await idle.start(await idle.save([node()]), EVENT)
    assert (await idle.row(run))["due_in"] <= 0
    assert await idle.parts.sweeper.sweep() == 1
    (drive,) = idle.scheduled
    assert (drive.run, drive.driver) == (run, 1)
    assert 15 < (await idle.row(run))["due_in"] <= 30, "an alarm, which is later than the end of a lease"
    assert await idle.parts.engine.advance(idle.scheduled[-1]) == Done()
    assert (await idle.row(run))["status"] == "completed"
    # A second delivery of the same activity finds nothing to do.
    assert await idle.parts.engine.advance(idle.scheduled[-1]) == Done()
    assert len(idle.sidecar.calls) == 1


async def test_a_short_back_off_is_slept_in_place(bench: Bench) -> None:
    answers: list[Callable[[], Awaitable[SearchResult]]] = []

    async def flaky(request: SearchRequest) -> SearchResult:
        answers.append(lambda: found(request))
        if len(answers) < 3:
            raise BadGatewayForNow("not now")
        return await found(request)

    bench.sidecar.answer(SEARCH, flaky)
    run = await bench.start(await bench.save([node(retry={"attempts": 3, "backoff_seconds": 0.01})]))
    await bench.settle()
    assert (await bench.row(run))["status"] == "completed"
    types = [type_ for _, type_, _ in await bench.events(run)]
    assert types == ["run.started", "step.started", "step.retrying", "step.retrying", "step.completed", "run.completed"]
    assert (await bench.steps(run))["s"]["attempt"] == 3
    assert {call.idempotency_key for call in bench.sidecar.calls} == {f"{run}/s"}


class BadGatewayForNow(BadGateway):
    """A failure of the far side that passes."""

    slug = "upstream-failed-for-now"
    retryable = True


async def test_exhausted_attempts_fail_the_run(bench: Bench) -> None:
    async def broken(request: SearchRequest) -> SearchResult:
        raise BadGatewayForNow("never")

    bench.sidecar.answer(SEARCH, broken)
    run = await bench.start(await bench.save([node(retry={"attempts": 2, "backoff_seconds": 0.01}), node("t")]))
    await bench.settle()
    row = await bench.row(run)
    assert row["status"] == "failed"
    assert row["error"] == {"node": "s", "type": "upstream-failed-for-now", "detail": "never"}
    assert [type_ for _, type_, _ in await bench.events(run)][-2:] == ["step.failed", "run.failed"]
    assert await bench.told() == ["crewmesh.run.started.v1", "crewmesh.run.failed.v1"]


async def test_what_cannot_get_better_is_not_tried_again(bench: Bench) -> None:
    async def refused(request: SearchRequest) -> SearchResult:
        raise BadGateway("no such base")

    bench.sidecar.answer(SEARCH, refused)
    run = await bench.start(await bench.save([node()]))
    await bench.settle()
    assert len(bench.sidecar.calls) == 1
    assert (await bench.row(run))["status"] == "failed"


async def test_still_running_and_restarting_cost_no_attempt(bench: Bench) -> None:
    told = iter([OperationInProgress("wait"), Unavailable("restarting"), OperationInProgress("wait")])

    async def slow(request: SearchRequest) -> SearchResult:
        if (problem := next(told, None)) is not None:
            raise problem
        return await found(request)

    bench.sidecar.answer(SEARCH, slow)
    run = await bench.start(await bench.save([node(retry={"attempts": 1})]))
    await bench.settle()
    assert (await bench.row(run))["status"] == "completed"
    assert (await bench.steps(run))["s"]["attempt"] == 1


async def test_an_exception_of_our_own_is_worth_another_attempt(bench: Bench) -> None:
    told = iter([ValueError("a bug")])

    async def buggy(request: SearchRequest) -> SearchResult:
        if (error := next(told, None)) is not None:
            raise error
        return await found(request)

    bench.sidecar.answer(SEARCH, buggy)
    run = await bench.start(await bench.save([node(retry={"backoff_seconds": 0.01})]))
    await bench.settle()
    assert (await bench.row(run))["status"] == "completed"


async def test_a_long_back_off_becomes_a_sleep_of_the_driver(bench: Bench) -> None:
    told = iter([BadGatewayForNow("later")])

    async def flaky(request: SearchRequest) -> SearchResult:
        if (problem := next(told, None)) is not None:
            raise problem
        return await found(request)

    bench.sidecar.answer(SEARCH, flaky)
    run = await bench.start(await bench.save([node(retry={"backoff_seconds": 100})]))
    await bench.settle()
    row = await bench.row(run)
    assert row["status"] == "waiting"
    assert 60 < row["due_in"] <= 140
    (drive,) = bench.scheduled
    assert drive.sleep is not None
    assert drive.sleep.event == "wake-1"
    assert 60 < (drive.sleep.seconds or 0) <= 110, "a tenth of it is random"
    assert await bench.parts.sweeper.sweep() == 0, "the sleeping run is not due"
    again = await bench.parts.engine.advance(drive)
    assert isinstance(again, Sleep), "who comes too early sleeps on"
    assert again.event == "wake-2"

    async with bench.database.system() as conn:
        await conn.execute("UPDATE steps SET retry_at = now() WHERE run_id = %s", [run])
    assert await bench.parts.engine.advance(bench.scheduled[-1]) == Done()
    assert (await bench.row(run))["status"] == "completed"
    assert (await bench.steps(run))["s"]["attempt"] == 2


async def test_the_older_of_two_workers_cannot_write(url: str, bench: Bench) -> None:
    entered, go = asyncio.Event(), asyncio.Event()

    async def frozen(request: SearchRequest) -> SearchResult:
        entered.set()
        await go.wait()
        return await found(request)

    bench.sidecar.answer(SEARCH, frozen)
    run = await bench.start(await bench.save([node("a"), node("b")], [{"from": "a", "to": "b"}]), EVENT)
    await entered.wait()
    async with replica(url) as other:
        other.sidecar.answer(SEARCH, found)
        await other.make_due(run)
        assert await other.parts.sweeper.sweep() == 1
        await other.settle()
        before = await other.events(run)
    go.set()
    await bench.settle()
    assert await bench.events(run) == before
    assert [type_ for _, type_, _ in before].count("step.completed") == 2
    assert len(bench.sidecar.calls) == 1, "the frozen worker starts nothing more"
    assert (await bench.row(run))["epoch"] == 2


async def test_a_worker_is_told_that_its_lease_is_lost(idle: Bench) -> None:
    run_id = await idle.start(await idle.save([node()], []))
    idle.sidecar.answer(SEARCH, found)
    await idle.make_due(run_id)
    await idle.parts.sweeper.sweep()
    taken = await idle.parts.journal.acquire(first_driver(run_id))
    assert taken is not None
    with idle.parts.leases.hold(taken.run) as lease:
        await idle.make_due(run_id)
        await idle.parts.leases.extend()
        assert not lease.lost
        assert 0 < (await idle.row(run_id))["due_in"] <= 15
        assert await idle.parts.journal.acquire(first_driver(run_id)) is not None
        await idle.parts.leases.extend()
        assert lease.lost
        with pytest.raises(LeaseLostError):
            lease.check()
    with pytest.raises(LeaseLostError):
        await idle.parts.journal.commit(taken.run, Commit(events=[JournalEvent("run.completed", {})]))


async def test_leases_are_given_back_at_shutdown(idle: Bench) -> None:
    run_id = await idle.start(await idle.save([node()], []))
    taken = await idle.parts.journal.acquire(first_driver(run_id))
    assert taken is not None
    with idle.parts.leases.hold(taken.run):
        await idle.parts.leases.give_back()
        assert (await idle.row(run_id))["due_in"] <= 0


async def test_a_commit_whose_confirmation_was_lost_is_not_written_twice(idle: Bench) -> None:
    run_id = await idle.start(await idle.save([node()], []))
    taken = await idle.parts.journal.acquire(first_driver(run_id))
    assert taken is not None
    run = taken.run
    commit = Commit(events=[JournalEvent("step.retrying", {"node": "s"})])
    once = await idle.parts.journal.commit(run, commit)
    again = await idle.parts.journal.commit(run, commit)
    assert once.run == again.run
    assert [type_ for _, type_, _ in await idle.events(run_id)].count("step.retrying") == 1


async def test_a_driver_of_another_number_stands_back(idle: Bench) -> None:
    run = await idle.start(await idle.save([node()], []))
    assert await idle.parts.engine.advance(DriveInput(run=run, driver=7, epoch=7)) == Superseded()
    assert await idle.parts.engine.advance(DriveInput(run="run_" + "0" * 32, driver=1, epoch=1)) == Done()


async def test_of_several_drivers_the_first_to_come_takes_the_run(idle: Bench) -> None:
    idle.sidecar.answer(SEARCH, found)
    run = await idle.start(await idle.save([node()], []))
    for _ in range(3):
        await idle.make_due(run)
        await idle.parts.sweeper.sweep()
    waited_long, second, third = idle.scheduled
    assert await idle.parts.journal.acquire(waited_long) is not None
    assert await idle.parts.engine.advance(second) == Superseded()
    assert await idle.parts.engine.advance(third) == Superseded()
    assert await idle.parts.engine.advance(waited_long) == Done(), "it has the run, and may come again"
    assert len(idle.sidecar.calls) == 1


async def test_a_crash_between_effects_repeats_only_what_was_not_journalled(url: str, bench: Bench) -> None:
    stuck = asyncio.Event()

    async def dies_at_the_second(request: SearchRequest) -> SearchResult:
        if len(bench.sidecar.calls) == 2:
            stuck.set()
            await asyncio.Event().wait()
        return await found(request)

    bench.sidecar.answer(SEARCH, dies_at_the_second)
    run = await bench.start(await bench.save(FIVE, CHAIN), EVENT)
    await stuck.wait()
    bench.tasks[0].cancel()
    async with replica(url) as other:
        other.sidecar.answer(SEARCH, found)
        await other.make_due(run)
        await other.parts.sweeper.sweep()
        await other.settle()
        assert [call.idempotency_key for call in other.sidecar.calls] == [f"{run}/s{n}" for n in range(2, 6)]
    types = [type_ for _, type_, _ in await bench.events(run)]
    assert types.count("step.started") == types.count("step.completed") == 5


async def test_large_outputs_travel_by_reference(bench: Bench) -> None:
    async def big(request: SearchRequest) -> SearchResult:
        hit = SearchHit(document="d", title="T", position=0, text="x" * 100_000, score=1.0)
        return SearchResult(hits=(hit,))

    async def sent(request: HttpSend) -> HttpReply:
        assert request.body == "T\n" + "x" * 100_000
        return HttpReply(status=200, headers={}, body="ok")

    bench.sidecar.answer(SEARCH, big)
    bench.sidecar.answer(SEND_HTTP, sent)
    http: JsonObject = {"id": "h", "kind": "http", "url": "https://x.test/", "body": "{{ steps.s.output.text }}"}
    run = await bench.start(
        await bench.save([node(), http], [{"from": "s", "to": "h"}], output={"all": "{{ steps.s.output.text }}"})
    )
    await bench.settle()
    row = await bench.row(run)
    assert row["status"] == "completed"
    assert set(row["output"]) == {"$blob", "bytes"}
    steps = await bench.steps(run)
    assert set(steps["s"]["output"]) == {"$blob", "bytes"}
    assert await bench.parts.payloads.fetch(row["output"]) == {"all": "T\n" + "x" * 100_000}


async def test_what_postgres_cannot_hold_is_cleaned_at_the_border(bench: Bench) -> None:
    async def dirty(request: HttpSend) -> HttpReply:
        return HttpReply(status=200, headers={}, body={"nul\0": "a\0b", "plain": "\\u0000"})

    bench.sidecar.answer(SEND_HTTP, dirty)
    http: JsonObject = {"id": "h", "kind": "http", "url": "https://x.test/"}
    run = await bench.start(await bench.save([http], output={"body": "{{ steps.h.output.body }}"}))
    await bench.settle()
    assert (await bench.row(run))["output"] == {"body": {"nul\ufffd": "a\ufffdb", "plain": "\\u0000"}}


async def test_the_same_holds_for_what_an_error_says(bench: Bench) -> None:
    async def dirty(request: HttpSend) -> HttpReply:
        raise BadGateway("it said \0 and \ud800")

    bench.sidecar.answer(SEND_HTTP, dirty)
    run = await bench.start(await bench.save([{"id": "h", "kind": "http", "url": "https://x.test/"}]))
    await bench.settle()
    assert (await bench.row(run))["error"]["detail"] == "it said \ufffd and \ufffd"


async def test_a_definition_that_cannot_be_read_any_more_fails_the_run(bench: Bench) -> None:
    workflow = await bench.save([node()])
    async with bench.database.system() as conn:
        await conn.execute(
            """UPDATE workflow_versions SET definition = jsonb_set(definition, '{nodes,0,query}', '"{{ nobody.X }}"')"""
        )
    run = await bench.start(workflow)
    await bench.parts.sweeper.sweep()
    await bench.settle()
    row = await bench.row(run)
    assert (row["status"], row["error"]["type"]) == ("failed", "invalid-definition")
