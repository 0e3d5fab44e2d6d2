"""Payloads that the blob store refuses, has lost, or cannot give now."""

from __future__ import annotations

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.invocations import SEND_HTTP, HttpReply, HttpSend
from crewmesh_kit.errors import NotFound, PayloadTooLarge, Problem, Unavailable
from crewmesh_testkit.fake_sidecar import FakeBlobStore
from crewmesh_workflow.engine.outcome import Done, DriveInput, Sleep, Superseded
from crewmesh_workflow.engine.payloads import LARGEST_BYTES

from services.workflow.tests.conftest import Bench

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
    row = await bench.row(run)
    assert row["status"] == status
    if status == "failed":
        assert (row["error"]["node"], row["error"]["type"]) == ("l", "payload-too-large")
        assert "bytes together" in row["error"]["detail"]
    assert all(len(payload) <= LARGEST_BYTES for payload in store.payloads.values())
