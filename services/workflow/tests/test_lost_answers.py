"""Effects whose attempts are used up while nobody said whether they happened, as when the mesh loses the answers."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.invocations import KICKOFF, SEND_HTTP, HttpReply, HttpSend, KickoffProgress, KickoffRequest
from crewmesh_kit.errors import GatewayTimeout, Problem, RemoteProblem
from crewmesh_testkit.identities import ORGANIZATION
from crewmesh_workflow.engine.outcome import Sleep

from services.workflow.tests.conftest import Bench

QUESTION: JsonObject = {"url": "https://bank.test/payments/1"}
PAID = HttpReply(status=200, headers={}, body="paid")
NOT_THERE = RemoteProblem(
    "no", status=424, slug="upstream-refused", title="Refused", retryable=False, upstream_status=404
)
LOST = GatewayTimeout("integration did not answer within 5 seconds.")
NOT_SENT = RemoteProblem(
    "no connection", status=502, slug="upstream-unreachable", title="Unreachable", retryable=True, sent=False
)


def pay(effect: str, **more: JsonValue) -> JsonObject:
    retry: JsonObject = {"attempts": 2, "backoff_seconds": 0.01}
    return {"id": "pay", "kind": "http", "url": "https://bank.test/", "effect": effect, "retry": retry, **more}


class Bank:
    """What the integration service was asked to send, and what it answers: to payments, and to the question."""

    def __init__(self, bench: Bench, payments: Sequence[Problem], told: HttpReply | Problem = PAID) -> None:
        self.payments = 0
        self._problems = [*payments]
        self._told = told
        bench.sidecar.answer(SEND_HTTP, self.answer)

    async def answer(self, request: HttpSend) -> HttpReply:
        answer: HttpReply | Problem = self._told
        if request.method != "GET":
            self.payments += 1
            answer = self._problems.pop(0) if self._problems else PAID
        if isinstance(answer, Problem):
            raise answer
        return answer


async def went(bench: Bench, node: JsonObject) -> tuple[str, JsonObject]:
    """A run of this one node, as far as it goes: its id, and how the step stands."""
    run = await bench.start(await bench.save([node]))
    await bench.settle()
    step = (await bench.steps(run))["pay"]
    error: JsonObject = step["error"] or {}
    return run, {"status": step["status"], "attempt": step["attempt"], "error": error.get("type")}


async def waits(bench: Bench, run: str) -> list[tuple[str, str]]:
    async with bench.database.system() as conn:
        cursor = await conn.execute("SELECT id, kind FROM waits WHERE run_id = %s AND status = 'open'", [run])
        return [(row["id"], row["kind"]) for row in await cursor.fetchall()]


async def say(bench: Bench, run: str, data: JsonObject, *, path: str = "pay") -> None:
    """A person answers what came of the step, and the run goes on."""
    async with bench.database.tenant(ORGANIZATION) as conn:
        assert await bench.parts.control.arrive(conn, run, path, data)
    await bench.drive()


async def test_nobody_knows_and_a_person_says(bench: Bench) -> None:
    bank = Bank(bench, [LOST, LOST])
    run, step = await went(bench, pay("unsafe"))
    assert step == {"status": "waiting", "attempt": 2, "error": "upstream-timeout"}
    assert [kind for _, kind in await waits(bench, run)] == ["outcome"]
    assert (await bench.row(run))["status"] == "waiting"
    await say(bench, run, {"happened": True, "output": {"status": 200}})
    assert (await bench.row(run))["status"] == "completed"
    assert (await bench.steps(run))["pay"]["output"] == {"status": 200}
    assert bank.payments == 2


async def test_an_error_that_is_not_retried_leaves_the_same_question(bench: Bench) -> None:
    Bank(bench, [LOST])
    run, step = await went(bench, pay("unsafe", retry={"on": ["server_error"]}))
    assert (step["status"], step["attempt"]) == ("waiting", 1)
    assert [kind for _, kind in await waits(bench, run)] == ["outcome"]


async def test_the_other_side_is_asked_where_it_can_be(bench: Bench) -> None:
    bank = Bank(bench, [LOST, LOST])
    run, step = await went(bench, pay("verifiable", verify=QUESTION))
    assert step == {"status": "completed", "attempt": 2, "error": None}
    assert (await bench.row(run))["status"] == "completed"
    assert bank.payments == 2


async def test_it_did_not_happen_and_no_attempt_is_left(bench: Bench) -> None:
    bank = Bank(bench, [LOST, LOST], told=NOT_THERE)
    run, step = await went(bench, pay("verifiable", verify=QUESTION))
    assert step == {"status": "failed", "attempt": 2, "error": "upstream-timeout"}
    assert (await bench.row(run))["status"] == "failed"
    assert bank.payments == 2


async def test_a_person_is_asked_when_the_other_side_cannot_be(bench: Bench) -> None:
    Bank(bench, [LOST, LOST], told=LOST)
    run, step = await went(bench, pay("verifiable", verify=QUESTION))
    assert step["status"] == "waiting"
    assert [kind for _, kind in await waits(bench, run)] == ["outcome"]


@pytest.mark.parametrize(
    ("effect", "problems"),
    [
        pytest.param("idempotent", [LOST, LOST], id="it may be repeated"),
        pytest.param("unsafe", [LOST, NOT_SENT], id="who keeps a record of it says that nothing was sent"),
        pytest.param("unsafe", [LOST, NOT_THERE], id="it was refused"),
    ],
)
async def test_what_is_known_not_to_have_happened_just_fails(
    bench: Bench, effect: str, problems: list[Problem]
) -> None:
    Bank(bench, problems)
    run, step = await went(bench, pay(effect))
    assert step["status"] == "failed"
    assert (await bench.row(run))["status"] == "failed"
    assert await waits(bench, run) == []


def booked(undo: JsonObject) -> tuple[list[JsonValue], list[JsonValue]]:
    """Something is done, the run fails, and it is to be undone."""
    book: JsonObject = {"id": "pay", "kind": "http", "method": "GET", "url": "https://bank.test/"}
    nodes: list[JsonValue] = [{**book, "compensate": {"do": undo}}, {"id": "no", "kind": "fail", "message": "no"}]
    return nodes, [{"from": "pay", "to": "no"}]


async def test_what_became_of_a_compensation_is_asked_once(bench: Bench) -> None:
    bank = Bank(bench, [LOST, LOST])
    run = await bench.start(await bench.save(*booked({**pay("unsafe"), "id": "undo"})))
    await bench.settle()
    assert [kind for _, kind in await waits(bench, run)] == ["outcome"]
    await say(bench, run, {"happened": True, "output": {}}, path="pay!undo")
    assert (await bench.row(run))["status"] == "failed"
    assert (await bench.steps(run))["pay!undo"]["status"] == "completed"
    assert bank.payments == 2, "it is not sent again when the run is taken up to hear the answer"


async def test_a_compensation_is_not_done_before_a_person_agrees(bench: Bench) -> None:
    bank = Bank(bench, [])
    nodes, edges = booked({**pay("idempotent"), "id": "undo", "approval": "always"})
    run = await bench.start(await bench.save(nodes, edges))
    await bench.settle()
    (question,) = await waits(bench, run)
    assert question[1] == "approval"
    (driver,) = bench.scheduled
    assert isinstance(await bench.parts.engine.advance(driver), Sleep), "it was woken too early"
    assert await waits(bench, run) == [question]
    assert bank.payments == 0
    await say(bench, run, {"approved": False}, path="pay!undo")
    assert (await bench.steps(run))["pay!undo"]["status"] == "failed"
    assert (await bench.row(run))["status"] == "failed"
    assert bank.payments == 0


async def test_nobody_is_asked_about_a_request_that_makes_no_sense(bench: Bench) -> None:
    """Who agreed to it changed it so that nothing could be sent."""
    bank = Bank(bench, [])
    run = await bench.start(await bench.save([pay("unsafe", approval="always")]))
    await bench.settle()
    await say(bench, run, {"approved": True, "data": {"url": 7}})
    step = (await bench.steps(run))["pay"]
    assert (step["status"], step["attempt"], step["error"]["type"]) == ("failed", 1, "invalid-step-input")
    assert bank.payments == 0


class Keeper:
    """The integration service as it keeps refusals: under a key that was refused nothing is sent any more."""

    def __init__(self, bench: Bench, *answers: Problem) -> None:
        self.sent: list[str] = []
        self._bench, self._answers = bench, [*answers]
        self._refused: dict[str, Problem] = {}
        bench.sidecar.answer(SEND_HTTP, self.answer)

    async def answer(self, request: HttpSend) -> HttpReply:
        key = self._bench.sidecar.calls[-1].idempotency_key or ""
        if key in self._refused:
            raise self._refused[key]
        self.sent.append(key)
        if not self._answers:
            return PAID
        problem = self._answers.pop(0)
        if not problem.retryable:
            self._refused[key] = problem
        raise problem


REFUSALS_TOO: JsonObject = {"attempts": 4, "backoff_seconds": 0.01, "on": ["client_error", "server_error", "timeout"]}


@pytest.mark.parametrize("effect", ["idempotent", "unsafe"])
async def test_what_was_refused_is_sent_again_under_another_key(bench: Bench, effect: str) -> None:
    keeper = Keeper(bench, NOT_THERE, NOT_THERE)
    run = await bench.start(await bench.save([pay(effect, retry=REFUSALS_TOO, approval="always")]))
    await bench.settle()
    await say(bench, run, {"approved": True})
    step = (await bench.steps(run))["pay"]
    assert (step["status"], step["attempt"]) == ("completed", 3)
    assert keeper.sent == [f"{run}/pay", f"{run}/pay#1", f"{run}/pay#2"]
    assert await waits(bench, run) == [], "nobody is asked twice"


async def test_after_an_attempt_without_an_answer_the_key_stays(bench: Bench) -> None:
    """The receiver may have got the first: by the key it knows that the others are the same."""
    keeper = Keeper(bench, LOST, NOT_THERE)
    run, step = await went(bench, pay("idempotent", retry=REFUSALS_TOO))
    assert step == {"status": "failed", "attempt": 4, "error": "upstream-refused"}
    assert keeper.sent == [f"{run}/pay"] * 2


async def test_what_only_reads_may_always_be_asked_anew(bench: Bench) -> None:
    keeper = Keeper(bench, LOST, NOT_THERE)
    run, step = await went(bench, pay("idempotent", retry=REFUSALS_TOO, method="GET"))
    assert step == {"status": "completed", "attempt": 3, "error": None}
    assert keeper.sent == [*[f"{run}/pay"] * 2, f"{run}/pay#1"]


async def test_work_of_agents_keeps_its_key_and_its_end(bench: Bench) -> None:
    unknown = RemoteProblem("no such crew", status=404, slug="x", title="X", retryable=False)
    ended = RemoteProblem("it failed", status=422, slug="x", title="X", retryable=False, crew_run="crewrun_1")
    answers = [unknown, ended]

    async def work(request: KickoffRequest) -> KickoffProgress:
        raise answers.pop(0)

    bench.sidecar.answer(KICKOFF, work)
    run, step = await went(bench, {"id": "pay", "kind": "crew", "crew": "c", "inputs": {}, "retry": REFUSALS_TOO})
    assert step == {"status": "failed", "attempt": 2, "error": "x"}
    assert [call.idempotency_key for call in bench.sidecar.calls] == [f"{run}/pay"] * 2
