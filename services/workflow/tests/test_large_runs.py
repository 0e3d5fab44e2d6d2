"""Runs that are large: ten thousand steps, also when a worker is gone half-way, and an output of five megabytes."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.workflow.nodes.base import NodeBase
from crewmesh_contracts.workflow.nodes.http import HttpNode
from crewmesh_kit.db.database import Database
from crewmesh_kit.signals import cancelled
from crewmesh_workflow.engine.outcome import DriveInput
from crewmesh_workflow.nodes import all_kinds, http
from crewmesh_workflow.nodes.base import Behaviour, CompiledEffect, EffectContext, NodeKind, Reader, kind

from services.workflow.tests.conftest import Bench, make_bench

STEPS = 10_000
MEGABYTE = 1024 * 1024
Answer = Callable[[str], Awaitable[JsonObject]]


def http_answers(answer: Answer) -> NodeKind[NodeBase]:
    async def run(_request: JsonObject, context: EffectContext) -> JsonObject:
        return await answer(context.key.split("/", 1)[1])

    def bind(node: HttpNode, read: Reader) -> Behaviour:
        effect = http.KIND.bind(node, read)
        assert isinstance(effect, CompiledEffect)
        return replace(effect, run=run)

    return kind(HttpNode, bind)


def replica_that(answer: Answer, database: Database) -> Bench:
    return make_bench(database, slots=8, kinds=all_kinds().but(http_answers(answer)))


async def test_a_run_of_ten_thousand_steps_survives_the_loss_of_its_worker(database: Database) -> None:
    done: Counter[str] = Counter()
    half_way = asyncio.Event()

    async def answer(path: str) -> JsonObject:
        done[path] += 1
        if len(done) == STEPS // 2 and not half_way.is_set():
            half_way.set()
            await asyncio.Event().wait()  # this worker will never hear of it
        return {"status": 200, "headers": {}, "body": None}

    first = replica_that(answer, database)
    body: JsonObject = {"nodes": [{"id": "send", "kind": "http", "url": "http://far.invalid/"}]}
    loop: JsonObject = {
        "id": "each",
        "kind": "for_each",
        "items": "{{ trigger.data }}",
        "concurrency": 100,
        "body": body,
    }
    workflow = await first.save([loop], output={"count": "{{ steps.each.output.count }}"})
    run = await first.start(workflow, [*range(STEPS - 1)])
    await half_way.wait()
    await cancelled(first.tasks)

    second = replica_that(answer, database)
    row = await second.row(run)
    await second.parts.engine.advance(DriveInput(run=run, driver=row["driver"] + 1, epoch=row["epoch"]))
    row = await second.row(run)
    assert (row["status"], row["output"]) == ("completed", {"count": STEPS - 1})
    assert Counter(step["status"] for step in (await second.steps(run)).values()) == {"completed": STEPS}
    repeated = sum(times - 1 for times in done.values())
    assert repeated <= 100, "only what was under way is done again"


async def test_an_output_of_five_megabytes_reaches_the_next_step(database: Database) -> None:
    asked: list[str] = []

    async def answer(path: str) -> JsonObject:
        asked.append(path)
        return {"status": 200, "headers": {}, "body": {"text": "x" * (5 * MEGABYTE)}}

    bench = replica_that(answer, database)
    large: JsonObject = {"id": "large", "kind": "http", "url": "http://far.invalid/"}
    measure: JsonObject = {
        "id": "measure",
        "kind": "http",
        "url": "http://far.invalid/{{ steps.large.output.body.text | length }}",
    }
    workflow = await bench.save(
        [large, measure],
        [{"from": "large", "to": "measure"}],
        output={"length": "{{ steps.large.output.body.text | length }}"},
    )
    run = await bench.start(workflow, event_id="large")
    await bench.settle()
    row = await bench.row(run)
    assert (row["status"], row["output"]) == ("completed", {"length": 5 * MEGABYTE}), row["error"]
    assert asked == ["large", "measure"]
    assert (await bench.steps(run))["measure"]["input"]["url"] == f"http://far.invalid/{5 * MEGABYTE}"
