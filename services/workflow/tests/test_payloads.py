"""Payloads that the blob store refuses, has lost, or cannot give now, and values that look like references to it."""

from __future__ import annotations

import asyncio

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.invocations import SEND_HTTP, HttpReply, HttpSend
from crewmesh_kit.dapr.stores import reference_of
from crewmesh_kit.errors import NotFound, PayloadTooLarge, Problem, RemoteProblem, Unavailable
from crewmesh_testkit.fake_sidecar import FakeBlobStore
from crewmesh_testkit.identities import ORGANIZATION
from crewmesh_workflow.engine.outcome import Done, DriveInput, Sleep, Superseded
from crewmesh_workflow.engine.payloads import LARGEST_BYTES, Payloads

from services.workflow.tests.conftest import Bench

NO: JsonObject = {"approved": False, "data": None, "decisions": []}
SEND: JsonObject = {"id": "h", "kind": "http", "url": "https://x.test/"}
ASK: JsonObject = {"id": "ok", "kind": "approval", "title": "?"}
END: JsonObject = {"id": "end", "kind": "set", "variables": {"done": True}}
WAYS: list[JsonValue] = [{"from": "h", "to": "ok"}, {"from": "ok", "port": "rejected", "to": "end"}]


class Store(FakeBlobStore):
    """Raises this instead of storing or giving anything."""

    problem: Problem | None = None

    async def put(self, payload: bytes) -> str:
        self._fail()
        return await super().put(payload)

    async def get(self, reference: str) -> bytes:
        self._fail()
        return await super().get(reference)

    def _fail(self) -> None:
        if self.problem is not None:
            raise self.problem


@pytest.fixture
def store(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Store:
    made = Store()
    monkeypatch.setattr(bench.parts.payloads, "_blobs", made)

    async def large(request: HttpSend) -> HttpReply:
        return HttpReply(status=200, headers={}, body="x" * 100_000)

    bench.sidecar.answer(SEND_HTTP, large)
    return made


async def advance(bench: Bench, run: str) -> Done | Superseded | Sleep:
    """As the driver that watches over the run."""
    row = await bench.row(run)
    return await bench.parts.engine.advance(DriveInput(run=run, driver=row["driver"], epoch=row["epoch"]))


async def arrive(bench: Bench, run: str, path: str, data: JsonObject) -> None:
    async with bench.database.tenant(ORGANIZATION) as conn:
        assert await bench.parts.control.arrive(conn, run, path, data)


async def test_a_payload_that_is_lost_fails_the_run_in_the_end(bench: Bench, store: Store) -> None:
    run = await bench.start(await bench.save([SEND, ASK, END], WAYS))
    await bench.settle()
    (reference,) = store.payloads
    store.payloads.clear()
    for _ in range(4):
        with pytest.raises(NotFound):
            await advance(bench, run)
    assert (await bench.row(run))["status"] == "running"
    await advance(bench, run)
    row = await bench.row(run)
    assert (row["status"], row["error"]["type"]) == ("failed", "internal-error")
    assert reference in row["error"]["detail"]


async def test_a_payload_that_is_refused_fails_the_run_in_the_end(bench: Bench, store: Store) -> None:
    store.problem = PayloadTooLarge("The sidecar takes no more than that.")
    run = await bench.start(await bench.save([SEND, ASK, END], WAYS))
    with pytest.raises(PayloadTooLarge):
        await bench.settle()
    for _ in range(3):
        with pytest.raises(PayloadTooLarge):
            await advance(bench, run)
    await advance(bench, run)
    row = await bench.row(run)
    assert (row["status"], row["faults"]) == ("failed", 5)
    assert "takes no more than that" in row["error"]["detail"]


async def test_a_store_that_is_away_is_waited_for(bench: Bench, store: Store) -> None:
    run = await bench.start(await bench.save([SEND, ASK, END], WAYS))
    await bench.settle()
    store.problem = Unavailable("The store is away.")
    for _ in range(6):
        with pytest.raises(Unavailable):
            await advance(bench, run)
    store.problem = None
    assert isinstance(await advance(bench, run), Sleep)
    row = await bench.row(run)
    assert (row["status"], row["faults"]) == ("waiting", 0)


@pytest.mark.parametrize(("bytes_", "status"), [(60_000, "failed"), (50_000, "completed")])
async def test_what_the_rounds_of_a_loop_give_together_may_be_too_large(
    bench: Bench, store: Store, bytes_: int, status: str
) -> None:
    body: JsonObject = {"nodes": [], "output": {"text": "{{ trigger.data.text }}"}}
    body["nodes"] = [{"id": "t", "kind": "set", "variables": {"i": "{{ index }}"}}]
    loop: JsonObject = {"id": "l", "kind": "for_each", "items": "{{ trigger.data.items }}", "body": body}
    workflow = await bench.save([loop], output={"count": "{{ steps.l.output.count }}"})
    run = await bench.start(workflow, {"text": "x" * bytes_, "items": [*range(100)]})
    await bench.settle()
    await bench.parts.sweeper.sweep()  # what is to be stowed is not stowed with the start
    await bench.settle()
    row = await bench.row(run)
    assert row["status"] == status
    if status == "failed":
        assert (row["error"]["node"], row["error"]["type"]) == ("l", "payload-too-large")
        assert "bytes together" in row["error"]["detail"]
    assert all(len(payload) <= LARGEST_BYTES for payload in store.payloads.values())


FOREIGN = b'{"secret": "of another organization"}'
LIKE_REFERENCES: list[JsonObject] = [{"$blob": "x"}, {"$blob": reference_of(FOREIGN), "bytes": 1}, {"$blob": 7}]


class TestWhatLooksLikeAReference:
    @pytest.mark.parametrize("value", LIKE_REFERENCES)
    async def test_comes_back_as_it_was(self, value: JsonObject) -> None:
        store = Store()
        await store.put(FOREIGN)
        payloads = Payloads(store)
        stowed = await payloads.stow(value)
        assert stowed["$blob"] == reference_of(store.payloads[str(stowed["$blob"])])
        assert await payloads.fetch(stowed) == value

    @pytest.mark.parametrize("value", LIKE_REFERENCES)
    async def test_may_be_what_a_person_answers(self, bench: Bench, store: Store, value: JsonObject) -> None:
        await store.put(FOREIGN)
        asked_first: JsonObject = {**SEND, "approval": "always", "on_error": "continue", "retry": {"attempts": 1}}
        run = await bench.start(await bench.save([asked_first, ASK, END], WAYS))
        await bench.settle()
        await arrive(bench, run, "h", {"approved": True, "data": value})
        assert isinstance(await advance(bench, run), Sleep)
        step = (await bench.steps(run))["h"]
        assert await bench.parts.payloads.fetch(step["input"]) == value
        await arrive(bench, run, "ok", NO)
        assert await advance(bench, run) == Done()

    @pytest.mark.parametrize("value", LIKE_REFERENCES)
    async def test_may_be_what_a_person_says_came_of_an_action(
        self, bench: Bench, store: Store, value: JsonObject
    ) -> None:
        async def unknown(request: HttpSend) -> HttpReply:
            raise RemoteProblem("?", status=409, slug="outcome-unknown", title="?", retryable=False)

        await store.put(FOREIGN)
        bench.sidecar.answer(SEND_HTTP, unknown)
        run = await bench.start(await bench.save([SEND, ASK, END], WAYS))
        await bench.settle()
        await arrive(bench, run, "h", {"happened": True, "output": value})
        assert isinstance(await advance(bench, run), Sleep)
        await arrive(bench, run, "ok", NO)
        assert await advance(bench, run) == Done()
        row = await bench.row(run)
        assert row["status"] == "completed"
        assert await bench.parts.payloads.fetch((await bench.steps(run))["h"]["output"]) == value


async def test_a_start_waits_for_no_blob_store(bench: Bench, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its transaction would stay open as long; it is stowed by whoever takes the run."""
    there = asyncio.Event()
    put = store.put

    async def slow(payload: bytes) -> str:
        await there.wait()
        return await put(payload)

    monkeypatch.setattr(store, "put", slow)
    workflow = await bench.save([{**SEND, "body": {"all": "{{ trigger.data }}"}}])
    async with asyncio.timeout(60):
        run = await bench.start(workflow, "x" * 100_000)
    assert (await bench.row(run))["status"] == "running"
    there.set()
    await bench.parts.sweeper.sweep()
    await bench.settle()
    assert (await bench.row(run))["status"] == "completed"
    step = (await bench.steps(run))["h"]
    assert step["input"]["$blob"] in store.payloads
