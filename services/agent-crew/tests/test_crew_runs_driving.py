"""Whoever drives a run may die, freeze or be stopped: another goes on, nothing that was paid for is repeated."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import cast

import pytest
from crewmesh_agent_crew.crew_runs.driver import DUE
from crewmesh_agent_crew.crew_runs.errors import LeaseLostError
from crewmesh_agent_crew.crew_runs.journal import Commit, Journal, Message
from crewmesh_agent_crew.crew_runs.models import Held
from crewmesh_agent_crew.models.usage import Used
from crewmesh_agent_crew.settings import CrewRunSettings
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_kit.ids import new_id
from crewmesh_kit.signals import Signals
from crewmesh_testkit import polling
from crewmesh_testkit.openai_fake import OpenAiFake

from .conftest import replica
from .harness import MODEL_KEY, Running, result_of, until
from .held_model import HeldModel

# What is due is looked for often; no lease runs out by itself.
WATCHFUL = CrewRunSettings(lease_seconds=60, beat_seconds=0.25, poll_seconds=0.2)
# Who is told looks; nobody else does.
DROWSY = WATCHFUL.model_copy(update={"poll_seconds": 60.0})
STEPS = 4


def line_of(steps: int = STEPS) -> JsonObject:
    """A crew that does one task after another."""
    agent: JsonObject = {"name": "worker", "role": "A worker", "goal": "do it"}
    tasks: list[JsonValue] = [
        {"name": f"task-{n}", "agent": "worker", "description": f"Do part {n}.", "expected_output": "It."}
        for n in range(1, steps + 1)
    ]
    return {"name": "line", "agents": [agent], "tasks": tasks}


def parts_asked(model: OpenAiFake) -> Counter[str]:
    """How often the model was asked for each part."""
    found: Counter[str] = Counter()
    for request in model.requests:
        found += Counter(f"part {n}" for n in range(1, STEPS + 1) if f"Do part {n}." in request.prompt)
    return found


@pytest.fixture
async def model() -> AsyncGenerator[HeldModel]:
    async with HeldModel(api_key=MODEL_KEY) as model:
        yield model


@pytest.fixture
async def two(crews_database: str, valkey: str, model: OpenAiFake) -> AsyncGenerator[tuple[Running, Running]]:
    """Two replicas with a crew."""
    async with pair(crews_database, valkey, model, WATCHFUL) as both:
        yield both


@asynccontextmanager
async def pair(
    database: str, valkey: str, model: OpenAiFake, settings: CrewRunSettings
) -> AsyncGenerator[tuple[Running, Running]]:
    organization = new_id("org")
    async with (
        replica(database, valkey, model, settings, organization) as one,
        replica(database, valkey, model, settings, organization) as other,
    ):
        # Whoever has just connected wakes everybody once; let that be over.
        await asyncio.gather(*(each.resources.get(Signals).begun.wait() for each in (one, other)))
        made = await one.post("/v1/crews", line_of())
        assert made.status_code == 201, made.text
        yield one, other


async def begin(service: Running) -> str:
    answer = await service.post("/v1/crews/line/runs", {})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


async def row_of(service: Running, run: str) -> dict[str, object]:
    async with service.database.tenant(service.organization) as connection:
        row = await (await connection.execute("SELECT * FROM crew_runs WHERE id = %s", [run])).fetchone()
    assert row is not None
    return row


async def ended(service: Running, run: str) -> dict[str, object]:
    async with asyncio.timeout(120):
        while True:
            row = await row_of(service, run)
            if row["ended_at"] is not None:
                return row
            await asyncio.sleep(0.02)


async def until_epoch(service: Running, run: str, epoch: int) -> None:
    async def taken() -> bool:
        return int(str((await row_of(service, run))["epoch"])) >= epoch

    await polling.until(taken, seconds=60, what=f"epoch {epoch}")


async def taken_over(service: Running, journal: Journal, run: str) -> Held:
    """Once its lease has run out; whoever holds it may extend that just in between."""
    async with asyncio.timeout(60):
        while True:
            async with service.database.tenant(service.organization) as connection:
                await connection.execute("UPDATE crew_runs SET due_at = now() - interval '1s' WHERE id = %s", [run])
            if (taken := await journal.take(run)) is not None:
                return taken


class TestTakingOver:
    async def test_a_run_that_was_taken_by_another_is_written_by_that_one_alone(
        self, crews_database: str, valkey: str, model: OpenAiFake
    ) -> None:
        """As after a worker froze for longer than its lease, and thaws."""
        model.delay = 600
        async with pair(crews_database, valkey, model, DROWSY) as (one, other):
            run = await begin(one)
            await until(lambda: len(model.requests) == 1)
            journal = other.resources.get(Journal)
            taken = await taken_over(one, journal, run)
            assert taken.epoch >= 2
            await until(lambda: model.abandoned >= 1)
            stale = replace(taken, epoch=1)
            with pytest.raises(LeaseLostError):
                await one.resources.get(Journal).commit(stale, Commit(Used(), messages=[Message("x", "note", "stale")]))
            with pytest.raises(LeaseLostError):
                await one.resources.get(Journal).commit(stale, Commit(Used(), "completed"))
            model.delay = 0
            await journal.give_back([run], [taken.epoch])
            other.resources.get(Signals).tell(DUE)
            row = await ended(one, run)
            assert row["status"] == "completed"
            messages = (await one.get(f"/v1/crew-runs/{run}/messages")).json()["items"]
            assert [each["kind"] for each in messages] == ["instruction", "answer"] * STEPS

    async def test_turns_that_are_written_down_are_not_given_again(
        self, two: tuple[Running, Running], model: HeldModel
    ) -> None:
        one, _ = two
        for turns_before in range(1, STEPS):
            model.requests.clear()
            given = 0

            def answer(_: object, held: int = turns_before + 1) -> str:
                nonlocal given
                given += 1
                if given == held:
                    model.gate.clear()
                return f"answer {given}"

            model.answers(*[answer] * STEPS)
            run = await begin(one)
            await until(lambda: not model.gate.is_set())
            async with one.database.tenant(one.organization) as connection:
                await connection.execute("UPDATE crew_runs SET epoch = epoch + 1, due_at = now() WHERE id = %s", [run])
            await until_epoch(one, run, 3)
            model.gate.set()
            row = await ended(one, run)
            assert row["status"] == "completed"
            assert int(str(row["epoch"])) >= 3
            asked = parts_asked(model)
            # The answer that was under way may be lost with who asked for it; what was written down is not asked again.
            assert asked.pop(f"part {turns_before + 1}") in (1, 2)
            assert set(asked.values()) == {1}

    async def test_a_replica_that_stops_hands_over_without_losing_the_answer_under_way(
        self, crews_database: str, valkey: str, model: OpenAiFake
    ) -> None:
        organization = new_id("org")
        model.delay = 0.5
        async with replica(crews_database, valkey, model, WATCHFUL, organization) as one:
            await one.post("/v1/crews", line_of())
            run = await begin(one)
            await until(lambda: len(model.requests) >= 2)
        model.delay = 0
        async with replica(crews_database, valkey, model, WATCHFUL, organization) as other:
            row = await ended(other, run)
        assert row["status"] == "completed"
        assert parts_asked(model) == {f"part {n}": 1 for n in range(1, STEPS + 1)}
        assert cast(JsonObject, row["usage"])["requests"] == STEPS

    async def test_a_run_that_kills_whoever_takes_it_is_given_up(self, two: tuple[Running, Running]) -> None:
        one, _ = two
        one.model.delay = 600
        run = await begin(one)
        await until(lambda: len(one.model.requests) == 1)
        async with one.database.tenant(one.organization) as connection:
            await connection.execute(
                "UPDATE crew_runs SET epoch = epoch + 1, fruitless = 8, due_at = now() WHERE id = %s", [run]
            )
        row = await ended(one, run)
        assert row["status"] == "failed"
        assert "did not survive it" in str(row["error"])


class TestMoney:
    async def test_the_ledger_and_the_runs_agree(self, two: tuple[Running, Running]) -> None:
        one, other = two
        runs = [await begin(each) for each in (one, other) for _ in range(3)]
        for run in runs:
            assert (await ended(one, run))["status"] == "completed"
        async with one.database.tenant(one.organization) as connection:
            told = await (
                await connection.execute(
                    "SELECT count(*) FILTER (WHERE outcome = 'ok') AS calls, count(DISTINCT key) AS keys,"
                    " (SELECT sum((usage->>'requests')::int) FROM crew_runs) AS requests FROM model_calls"
                )
            ).fetchone()
        assert told == {"calls": 6 * STEPS, "keys": 6 * STEPS, "requests": 6 * STEPS}


class TestPlaces:
    async def test_what_is_beyond_the_share_waits_its_turn(
        self, crews_database: str, valkey: str, model: HeldModel
    ) -> None:
        organization = new_id("org")
        settings = CrewRunSettings(most_working=4, share=2, poll_seconds=0.2)
        async with replica(crews_database, valkey, model, settings, organization) as service:
            await service.post("/v1/crews", line_of(1))
            model.gate.clear()
            runs = [await begin(service) for _ in range(6)]
            await until(lambda: model.most_at_once == 2)
            model.gate.set()
            for run in runs:
                assert (await ended(service, run))["status"] == "completed"
        assert model.most_at_once == 2


async def test_a_step_joins_a_run_at_another_replica(two: tuple[Running, Running], model: OpenAiFake) -> None:
    one, other = two
    model.delay = 0.1
    key = new_id("test")
    request: JsonObject = {"crew": "line", "inputs": {}, "wait_seconds": 50}
    answers = await asyncio.gather(*(each.post("/internal/kickoff", request, key=key) for each in (one, other) * 5))
    assert {answer.status_code for answer in answers} == {200}, answers[0].text
    assert len({answer.json()["crew_run"] for answer in answers}) == 1
    assert {result_of(answer).usage.requests for answer in answers} == {STEPS}
    assert len(model.requests) == STEPS
