"""What a join is reached without: most of it is cancelled, and what has to end does so while the run goes on."""

from __future__ import annotations

import asyncio

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_kit.errors import InvalidRequest
from crewmesh_testkit import polling
from crewmesh_workflow.engine.outcome import Done

from services.workflow.tests.conftest import Bench, replica
from services.workflow.tests.test_control import ask, controlled, until
from services.workflow.tests.test_ends_of_children import all_wait, child_of
from services.workflow.tests.test_ends_that_wait import (
    AGREE,
    LOST,
    YES,
    Bank,
    arrive,
    go_on,
    http,
    statuses,
    taken_over,
    waits,
)

JOIN: JsonObject = {"id": "join", "kind": "join", "mode": "any"}
NO: JsonObject = {"id": "no", "kind": "fail", "message": "no"}
WON: JsonObject = {"won": "{{ steps.join.output.arrived }}", "pay": "{{ steps.pay.output ?? 'unknown' }}"}
HAPPENED: JsonObject = {"happened": True, "output": {"status": 200}}
ONCE: JsonObject = {"attempts": 1}


def race(*nodes: JsonObject, loser: str = "pay", then: str | None = None) -> tuple[list[JsonValue], list[JsonValue]]:
    """Whether people agree, or the loser ends: one of both is enough. ``then`` stands behind the join."""
    edges: list[JsonValue] = [
        {"from": "agree", "port": "approved", "to": "join"},
        {"from": loser, "to": "join"},
    ]
    if then is not None:
        edges.append({"from": "join", "to": then})
    return [AGREE, JOIN, *nodes], edges


async def raced(bench: Bench, bank: Bank, *nodes: JsonObject, then: str, loser: str = "pay", **more: JsonValue) -> str:
    """A run that goes on behind the join while ``pay`` is under way."""
    run = await bench.start(await bench.save(*race(*nodes, loser=loser, then=then), **more))
    async with asyncio.timeout(60):
        await bank.begun.wait()
    await arrive(bench, run, "agree", YES)
    bench.parts.leases.look()
    await bench.parts.leases.extend()

    async def is_there() -> bool:
        return (await statuses(bench, run)).get(then) in ("completed", "failed")

    await polling.until(is_there, seconds=60, what=f"{then} to be over", every=0.01)
    return run


async def lost(bench: Bench, *nodes: JsonObject, then: str = "then", **more: JsonValue) -> tuple[Bank, str]:
    """A run in which nobody knows whether ``pay`` took effect, before the join is reached."""
    bank = Bank(bench, held="pay")
    bank.problem = LOST
    bank.go.set()
    run = await bench.start(await bench.save(*race(*nodes, then=then), **more))
    await bench.settle()
    assert await waits(bench, run) == [("agree", "approval"), ("pay", "outcome")]
    await arrive(bench, run, "agree", YES)
    await go_on(bench, run)
    return bank, run


class TestEffects:
    async def test_the_run_goes_on_and_ends_when_the_loser_has(self, bench: Bench) -> None:
        bank = Bank(bench, held="pay")
        run = await raced(bench, bank, http("pay", "unsafe", undo=True), http("then"), then="then", output=WON)
        assert (await bench.row(run))["status"] == "running"
        assert (await statuses(bench, run))["pay"] == "running"
        bank.go.set()
        await bench.settle()
        row = await bench.row(run)
        assert (row["status"], row["output"]) == ("completed", {"won": ["agree"], "pay": "unknown"})
        assert (await statuses(bench, run))["pay"] == "completed"
        assert bank.asked == ["pay", "then"]

    async def test_it_is_undone_when_the_run_fails_behind_the_join(self, bench: Bench) -> None:
        bank = Bank(bench, held="pay")
        undo: JsonObject = {"do": http("undo-pay", body="{{ steps.pay.output.status }}")}
        run = await raced(bench, bank, http("pay", compensate=undo), NO, then="no")
        bank.go.set()
        await bench.settle()
        assert (await bench.row(run))["error"]["node"] == "no"
        assert bank.asked == ["pay", "undo-pay"]
        assert (await bench.steps(run))["pay!undo"]["input"]["body"] == 200

    async def test_it_is_undone_when_the_run_is_cancelled_after_it_ended(self, bench: Bench) -> None:
        bank = Bank(bench, held="pay")
        last: JsonObject = {"id": "last", "kind": "wait_event", "type": "never.comes"}
        run = await raced(bench, bank, http("pay", "unsafe", undo=True), http("then"), last, then="then")
        bank.go.set()
        await bench.settle()
        assert (await statuses(bench, run))["pay"] == "completed"
        assert await ask(bench, "cancel", run)
        assert await go_on(bench, run) == Done()
        assert bank.asked == ["pay", "then", "undo-pay"]

    async def test_the_run_does_not_fail_with_the_loser(self, bench: Bench) -> None:
        bank = Bank(bench, held="pay")
        bank.problem = InvalidRequest("no")
        run = await raced(bench, bank, http("pay", "unsafe"), http("then"), then="then")
        bank.go.set()
        await bench.settle()
        assert (await bench.row(run))["status"] == "completed"
        assert (await statuses(bench, run))["pay"] == "failed"

    async def test_nothing_follows_from_it(self, bench: Bench) -> None:
        bank = Bank(bench, held="pay")
        nodes, edges = race(http("pay", "unsafe"), http("after"), http("then"), loser="after", then="then")
        run = await bench.start(await bench.save(nodes, [*edges, {"from": "pay", "to": "after"}]))
        async with asyncio.timeout(60):
            await bank.begun.wait()
        await arrive(bench, run, "agree", YES)
        bench.parts.leases.look()
        await bench.parts.leases.extend()
        bank.go.set()
        await bench.settle()
        assert (await bench.row(run))["status"] == "completed"
        assert "after" not in bank.asked

    async def test_what_may_be_repeated_is_cancelled_at_once(self, bench: Bench) -> None:
        bank = Bank(bench, held="pay")
        run = await raced(bench, bank, http("pay"), http("then"), then="then")
        await bench.settle()
        assert (await bench.row(run))["status"] == "completed"
        assert (await statuses(bench, run))["pay"] == "cancelled"

    async def test_what_had_not_begun_never_does(self, bench: Bench) -> None:
        bank = Bank(bench)
        now: JsonObject = {"id": "now", "kind": "transform", "output": {}}
        body: JsonObject = {"nodes": [http("buy", "unsafe")]}
        loop: JsonObject = {"id": "loop", "kind": "for_each", "items": [1], "body": body}
        edges: list[JsonValue] = [{"from": id_, "to": "join"} for id_ in ("pay", "loop", "now")]
        run = await bench.start(await bench.save([http("pay", "unsafe", undo=True), loop, now, JOIN], edges))
        await bench.settle()
        assert (await bench.row(run))["status"] == "completed"
        assert await statuses(bench, run) == {
            "pay": "cancelled", "loop": "cancelled", "loop[0].buy": "cancelled",
            "now": "completed", "join": "completed",
        }  # fmt: skip
        assert bank.asked == []

    async def test_nobody_waits_for_its_next_attempt(self, bench: Bench) -> None:
        bank = Bank(bench, held="pay")
        bank.problem = LOST
        bank.go.set()
        retry: JsonObject = {"attempts": 3, "backoff_seconds": 3_600, "longest_seconds": 3_600, "jitter": 0}
        run = await bench.start(await bench.save(*race(http("pay", undo=True, retry=retry), then=None)))
        await bench.settle()
        await arrive(bench, run, "agree", YES)
        assert await go_on(bench, run) == Done()
        assert (await bench.row(run))["status"] == "completed"
        assert (bank.asked, (await statuses(bench, run))["pay"]) == (["pay"], "failed")

    async def test_another_replica_brings_it_to_its_end(self, url: str, bench: Bench) -> None:
        bank = Bank(bench, held="pay")
        run = await raced(bench, bank, http("pay", "unsafe", undo=True), http("then"), then="then", output=WON)
        async with replica(url) as other:
            await taken_over(other, bank, run)
        row = await bench.row(run)
        assert (row["status"], row["output"]) == ("completed", {"won": ["agree"], "pay": "unknown"})
        assert await statuses(bench, run) == {
            "agree": "completed", "pay": "completed", "join": "completed", "then": "completed",
        }  # fmt: skip


class TestDoubt:
    @pytest.mark.parametrize("happened", [True, False])
    async def test_people_still_say_what_came_of_it(self, bench: Bench, happened: bool) -> None:
        bank, run = await lost(bench, http("pay", "unsafe", undo=True, retry=ONCE), http("then"), output=WON)
        assert (bank.asked, await waits(bench, run)) == (["pay", "then"], [("pay", "outcome")])
        await arrive(bench, run, "pay", HAPPENED if happened else {"happened": False, "output": None})
        assert await go_on(bench, run) == Done()
        row = await bench.row(run)
        assert (row["status"], row["output"]) == ("completed", {"won": ["agree"], "pay": "unknown"})
        assert (await statuses(bench, run))["pay"] == ("completed" if happened else "failed")
        assert bank.asked == ["pay", "then"], "nothing is sent again that nobody wants"

    async def test_what_happened_is_undone_when_the_run_fails(self, bench: Bench) -> None:
        bank, run = await lost(bench, http("pay", "unsafe", undo=True, retry=ONCE), NO, then="no")
        assert await waits(bench, run) == [("pay", "outcome")]
        await arrive(bench, run, "pay", HAPPENED)
        assert await go_on(bench, run) == Done()
        assert bank.asked == ["pay", "undo-pay"]


class TestLoops:
    @pytest.mark.parametrize("crash", [False, True])
    @pytest.mark.parametrize("kind", ["for_each", "while"])
    async def test_begin_no_other_round(self, url: str, bench: Bench, crash: bool, kind: str) -> None:
        bank = Bank(bench, held="pay")
        inner: JsonObject = {
            "id": "inner",
            "kind": "for_each",
            "items": [1],
            "body": {"nodes": [http("pay", "unsafe")]},
        }
        body: JsonObject = {"nodes": [inner, http("after")], "edges": [{"from": "inner", "to": "after"}]}
        how: JsonObject = {"items": [1, 2], "concurrency": 1} if kind == "for_each" else {"condition": "index < 2"}
        loop: JsonObject = {"id": "loop", "kind": kind, "body": body, **how}
        run = await raced(bench, bank, loop, http("then"), then="then", loser="loop")
        if crash:
            async with replica(url) as other:
                await taken_over(other, bank, run)
        else:
            bank.go.set()
            await bench.settle()
        assert (await bench.row(run))["status"] == "completed"
        assert (await statuses(bench, run)) == {
            "agree": "completed", "loop": "cancelled",
            "loop[0].inner": "completed", "loop[0].inner[0].pay": "completed",
            "join": "completed", "then": "completed",
        }  # fmt: skip
        assert set(bank.asked) == {"pay", "then"}


class TestChildren:
    async def test_a_child_has_undone_what_it_did_before_the_run_does(self, bench: Bench) -> None:
        bank = Bank(bench)
        waits: JsonObject = {"id": "waits", "kind": "wait_event", "type": "never.comes"}
        child = await bench.save([http("bb", undo=True), waits], [{"from": "bb", "to": "waits"}])
        call: JsonObject = {"id": "call", "kind": "workflow", "workflow": child}
        nodes, edges = race(http("aa", undo=True), call, NO, loser="call", then="no")
        async with controlled(bench):
            run = await bench.start(await bench.save(nodes, [*edges, {"from": "aa", "to": "call"}]))
            await polling.until(lambda: all_wait(bench), seconds=60, what="both runs to wait", every=0.01)
            await arrive(bench, run, "agree", YES)
            await until(bench, run, "failed")
        assert bank.asked == ["aa", "bb", "undo-bb", "undo-aa"]
        assert (await statuses(bench, run))["call"] == "cancelled"
        assert (await bench.row(await child_of(bench, run)))["status"] == "cancelled"

    async def test_a_child_that_was_never_begun_is_given_up(self, bench: Bench) -> None:
        call: JsonObject = {"id": "call", "kind": "workflow", "workflow": "any"}
        now: JsonObject = {"id": "now", "kind": "transform", "output": {}}
        edges: list[JsonValue] = [{"from": "call", "to": "join"}, {"from": "now", "to": "join"}]
        run = await bench.start(await bench.save([call, now, JOIN], edges))
        async with controlled(bench):
            await until(bench, run, "completed")
        assert (await statuses(bench, run))["call"] == "cancelled"
