"""Crews at work in processes that are killed, frozen and told to stop: all end, and nothing is paid or done twice.

The model counts what it answered, by crew and part; the receiver counts what agents sent, by key. A call may be
answered again only if the ledger says that its answer was lost.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString

import aiohttp
import pytest
from crewmesh_contracts.base import JsonObject
from crewmesh_kit.ids import new_id
from crewmesh_testkit.counted_model import CALLS_OF_A_PART, CountedModel, crew_of_parts
from crewmesh_testkit.fake_sidecar import FakeSidecar
from crewmesh_testkit.identities import auth_headers, identity
from crewmesh_testkit.ports import free_port
from crewmesh_testkit.receiver import Receiver
from crewmesh_testkit.spawning import spawn
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row

from .harness import MODEL_KEY

SEED = int(os.environ.get("CREWMESH_FAULT_SEED", "1"))
CREWS = 6
PARTS = 3
# Longer than a busy machine lets a process wait; those that die are started again meanwhile.
LEASE_SECONDS = 8.0
WHO = identity("*", organization=new_id("org"))


class Process:
    """One replica, started again whenever it is gone."""

    def __init__(self, folder: Path, name: str, environment: dict[str, str]) -> None:
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        self._log = folder / f"{name}.log"
        self._environment = {**os.environ, **environment, "CREWMESH_HTTP__PORT": str(port), "APP_ID": "agent-crew"}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            script = str(Path(__file__).with_name("crew_process.py"))
            self._process = spawn([sys.executable, script], env=self._environment, cwd=Path(__file__).parent, log=log)

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        if number in (signal.SIGKILL, signal.SIGTERM):
            self._process.wait(90)

    async def until_ready(self) -> None:
        async with asyncio.timeout(180), aiohttp.ClientSession() as session:
            while not await self._is_ready(session):  # noqa: ASYNC110  another process
                await asyncio.sleep(0.1)

    async def _is_ready(self, session: aiohttp.ClientSession) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()[-3_000:]
        try:
            async with session.get(f"{self.url}/readyz") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False


@dataclass
class World:
    model: CountedModel
    receiver: Receiver
    database: str
    one: Process
    other: Process
    deaths: int = 0

    async def post(self, path: str, body: JsonObject) -> JsonObject:
        headers = auth_headers(WHO, audience="agent-crew")
        async with (
            aiohttp.ClientSession() as session,
            session.post(self.one.url + path, json=body, headers=headers) as answer,
        ):
            assert answer.status == 201, await answer.text()
            return await answer.json()

    async def begin(self) -> list[str]:
        return [
            str((await self.post("/v1/crews/senders/runs", {"inputs": {"crew": str(n)}}))["id"]) for n in range(CREWS)
        ]

    async def rows(self, query: LiteralString) -> list[DictRow]:
        async with await AsyncConnection[DictRow].connect(self.database, row_factory=dict_row) as connection:
            await connection.execute("SELECT set_config('app.org_id', %s, false)", [WHO.organization])
            return await (await connection.execute(query)).fetchall()

    async def ended(self, runs: list[str]) -> None:
        async with asyncio.timeout(300):
            while True:
                rows = await self.rows("SELECT id, status FROM crew_runs WHERE ended_at IS NOT NULL")
                if {str(row["id"]) for row in rows} >= set(runs):
                    break
                await asyncio.sleep(0.2)
        assert {str(row["status"]) for row in rows} == {"completed"}

    async def some_taken_over(self, epochs: dict[str, int]) -> None:
        """Or ended by those who had them."""
        async with asyncio.timeout(60):
            while True:
                rows = await self.rows("SELECT id, epoch, ended_at FROM crew_runs")
                now = {str(row["id"]): row for row in rows}
                if any(now[id_]["epoch"] > epoch for id_, epoch in epochs.items()):
                    return
                if all(now[id_]["ended_at"] is not None for id_ in epochs):
                    return
                await asyncio.sleep(0.1)

    async def judge(self) -> None:
        """Every part was thought once and done once, and the books agree."""
        what = f"CREWMESH_FAULT_SEED={SEED}, {self.deaths} deaths"
        assert len(self.model.answered) == CREWS * PARTS * CALLS_OF_A_PART, what
        again = sum(len(times) - 1 for times in self.model.answered.values())
        lost = await self.rows("SELECT id FROM model_calls WHERE outcome IN ('unknown', 'cancelled')")
        assert again <= len(lost), what
        assert self.deaths or not again
        keys = {received.key for received in self.receiver.requests}
        paths = Counter(json.dumps(json.loads(received.body), sort_keys=True) for received in self.receiver.requests)
        assert len(keys) == len(paths) == CREWS * PARTS, "each effect has one key, under which the far side knows it"
        (books,) = await self.rows(
            "SELECT count(*) FILTER (WHERE outcome = 'ok') AS paid, count(DISTINCT key) AS asked,"
            " (SELECT sum((usage->>'requests')::int) FROM crew_runs) AS told,"
            " (SELECT count(*) FROM crew_turns) AS turns FROM model_calls"
        )
        expected = CREWS * PARTS * CALLS_OF_A_PART
        assert books == {"paid": expected, "asked": expected, "told": expected, "turns": CREWS * PARTS}
        messages = await self.rows("SELECT crew_run, kind FROM crew_messages WHERE kind IN ('tool', 'answer')")
        assert Counter(row["kind"] for row in messages) == {"tool": CREWS * PARTS, "answer": CREWS * PARTS}


@pytest.fixture
async def world(
    crews_database: str, valkey: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[World]:
    monkeypatch.setattr(f"{__name__}.WHO", identity("*", organization=new_id("org")))
    async with CountedModel(api_key=MODEL_KEY, delay=0.4) as model, Receiver(delay=lambda: 0.2) as receiver:
        secrets = FakeSidecar("agent-crew", secrets={"model-api-key": MODEL_KEY, "redis-url": valkey}).secrets
        environment = {
            "CREWMESH_DATABASE__URL": crews_database,
            "CREWMESH_MODEL__URL": model.url,
            "CREWMESH_MODEL__NAME": "fake",
            "CREWMESH_MODEL__BACKOFF_SECONDS": "0.05",
            "CREWMESH_CREW_RUNS__LEASE_SECONDS": str(LEASE_SECONDS),
            "CREWMESH_CREW_RUNS__BEAT_SECONDS": "0.5",
            "CREWMESH_CREW_RUNS__POLL_SECONDS": "0.3",
            "TEST_SECRETS": json.dumps(secrets),
            "TEST_RECEIVER": receiver.url("/in"),
        }
        one, other = (Process(tmp_path, name, environment) for name in ("one", "other"))
        try:
            one.start()
            other.start()
            await one.until_ready()
            await other.until_ready()
            at_hand = World(model, receiver, crews_database, one, other)
            await at_hand.post("/v1/crews", crew_of_parts("senders", PARTS, "https://example.com/in"))
            yield at_hand
        finally:
            for process in (one, other):
                process.send(signal.SIGKILL)


async def some_answers(world: World, wanted: int) -> None:
    async with asyncio.timeout(180):
        while len(world.model.answered) < wanted:  # noqa: ASYNC110  it is other processes that ask
            await asyncio.sleep(0.01)


async def test_processes_that_are_killed_again_and_again(world: World) -> None:
    dice = random.Random(SEED)
    runs = await world.begin()
    for round_ in range(3):
        await some_answers(world, 3 + round_ * 8 + dice.randrange(5))
        victim = dice.choice([world.one, world.other])
        await asyncio.to_thread(victim.send, signal.SIGKILL)
        world.deaths += 1
        victim.start()
        await victim.until_ready()
    await world.ended(runs)
    await world.judge()


async def test_both_die_at_once_and_the_crews_outlive_two_restarts(world: World) -> None:
    runs = await world.begin()
    for wanted in (5, 18):
        await some_answers(world, wanted)
        for process in (world.one, world.other):
            await asyncio.to_thread(process.send, signal.SIGKILL)
            world.deaths += 1
        for process in (world.one, world.other):
            process.start()
        await world.one.until_ready()
    await world.ended(runs)
    await world.judge()


async def test_one_that_froze_for_longer_than_its_leases_and_thaws_writes_nothing(world: World) -> None:
    runs = await world.begin()
    await some_answers(world, 4)
    world.one.send(signal.SIGSTOP)
    world.deaths += 1
    # Sooner than by themselves, for in ten seconds a model call is given up, too. The other extends its own before.
    frozen = await world.rows(
        "UPDATE crew_runs SET due_at = now() + interval '4 seconds' WHERE status = 'working' RETURNING id, epoch"
    )
    await world.some_taken_over({str(row["id"]): row["epoch"] for row in frozen})
    world.one.send(signal.SIGCONT)
    await world.ended(runs)
    await world.judge()


async def test_one_that_is_told_to_stop_repeats_nothing_at_all(world: World) -> None:
    runs = await world.begin()
    await some_answers(world, 4)
    await asyncio.to_thread(world.one.send, signal.SIGTERM)
    await world.ended(runs)
    world.one.start()
    await world.judge()
