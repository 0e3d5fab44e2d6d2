"""What follows a failed attempt."""

from __future__ import annotations

import pytest
from crewmesh_contracts.base import JsonValue
from crewmesh_contracts.workflow.nodes.base import Retry
from crewmesh_contracts.workflow.nodes.http import HttpNode
from crewmesh_kit.errors import (
    BadGateway,
    GatewayTimeout,
    InternalError,
    OperationInProgress,
    Problem,
    RemoteProblem,
    Unavailable,
)
from crewmesh_workflow.engine.retry import AskAgain, GiveUp, TryAgain, after_failure, may_have_happened
from crewmesh_workflow.engine.steps import StepError

NODE = HttpNode(id="h", kind="http", url="x", retry=Retry(attempts=4, backoff_seconds=1, jitter=0), timeout_seconds=100)


def remote(
    status: int, slug: str, *, retryable: bool, retry_after: str | None = None, **told: JsonValue
) -> RemoteProblem:
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return RemoteProblem("d", status=status, slug=slug, title="t", retryable=retryable, headers=headers, **told)


@pytest.mark.parametrize(
    ("problem", "attempt", "waited", "expected"),
    [
        (BadGateway("no"), 1, 0, GiveUp()),
        (GatewayTimeout("slow"), 1, 0, TryAgain(1)),
        (GatewayTimeout("slow"), 3, 0, TryAgain(4)),
        (GatewayTimeout("slow"), 4, 0, GiveUp()),
        (remote(503, "unavailable", retryable=True), 1, 0, TryAgain(1)),
        (remote(429, "too-many-requests", retryable=True, retry_after="30"), 1, 0, TryAgain(30)),
        (remote(429, "too-many-requests", retryable=True, retry_after="9999999"), 1, 0, TryAgain(3600)),
        (remote(429, "too-many-requests", retryable=True, retry_after="Sat, 01 Jan"), 2, 0, TryAgain(2)),
        (remote(409, "operation-in-progress", retryable=True), 1, 99, AskAgain(0.1)),
        (remote(409, "operation-in-progress", retryable=True), 1, 101, TryAgain(1)),
        (OperationInProgress("w"), 4, 0, AskAgain(0.1)),
        (Unavailable("mesh"), 4, 99, AskAgain(0.1)),
        (Unavailable("mesh"), 4, 101, GiveUp()),
    ],
)
def test_verdict(problem: Problem, attempt: int, waited: float, expected: object) -> None:
    assert after_failure(problem, NODE, attempt=attempt, asked=0, waited=waited) == expected


def test_asking_again_slows_down_to_once_a_second() -> None:
    pauses = [after_failure(Unavailable("x"), NODE, attempt=1, asked=n, waited=0) for n in range(6)]
    assert pauses == [AskAgain(s) for s in (0.1, 0.25, 0.5, 1.0, 1.0, 1.0)]


@pytest.mark.parametrize(
    ("problem", "maybe"),
    [
        (Unavailable("the mesh lost it"), True),
        (GatewayTimeout("no answer"), True),
        (OperationInProgress("still at it"), True),
        (InternalError("a fault of ours"), True),
        (remote(500, "internal-error", retryable=True), True),
        (remote(503, "unavailable", retryable=True), True),
        (remote(504, "upstream-timed-out", retryable=True, sent=True), True),
        (remote(504, "upstream-timed-out", retryable=True, sent=False), False),
        (remote(502, "upstream-unavailable", retryable=True, upstream_status=503), False),
        (remote(424, "upstream-refused", retryable=False, upstream_status=400), False),
        (BadGateway("the mesh does not let it through"), False),
    ],
)
def test_who_knows_whether_it_happened(problem: Problem, maybe: bool) -> None:
    assert may_have_happened(problem) is maybe


def test_the_places_that_a_problem_names_are_part_of_why_a_step_failed() -> None:
    errors: JsonValue = [{"path": f"body.{name}", "message": "no"} for name in "abcdefg"]
    told = StepError.of(remote(422, "validation-failed", retryable=False, errors=errors))
    assert told == StepError("validation-failed", "d (body.a: no; body.b: no; body.c: no; body.d: no; body.e: no)")
    assert StepError.of(remote(422, "validation-failed", retryable=False, errors="all")).detail == "d"
