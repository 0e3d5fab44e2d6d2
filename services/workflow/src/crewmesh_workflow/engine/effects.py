"""Does effects: one attempt after another, as the run, under the step's key, until there is something to journal.

Whatever goes wrong comes out as a Problem: a foreign exception is a fault of ours, logged, and worth another attempt.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from crewmesh_contracts.base import Contract, JsonObject, Reply
from crewmesh_contracts.invocations import Invocation, Payer
from crewmesh_contracts.workflow.nodes.base import EffectNode
from crewmesh_kit.db.storable import clean
from crewmesh_kit.errors import InternalError, Problem
from crewmesh_kit.identity import Identity
from crewmesh_kit.logs import get_logger
from crewmesh_kit.telemetry import span

from crewmesh_workflow.access import as_workflow
from crewmesh_workflow.engine import metrics
from crewmesh_workflow.engine.commits import Run
from crewmesh_workflow.engine.leases import Lease
from crewmesh_workflow.engine.policy import not_happened
from crewmesh_workflow.engine.retry import (
    AskAgain,
    AskPeople,
    GiveUp,
    TryAgain,
    after_failure,
    class_of,
    may_have_happened,
    pause_before,
)
from crewmesh_workflow.engine.steps import Step, StepError
from crewmesh_workflow.nodes.base import AfterApproval, AfterPause, CompiledEffect, EffectContext, NotYet, WaitFor
from crewmesh_workflow.sandbox.model import CodeRequest, CodeResult

RequestT = TypeVar("RequestT", bound=Contract)
ResultT = TypeVar("ResultT", bound=Reply)

RUN_PERMISSIONS = frozenset({"knowledge:read", "crews:run", "models:run", "http:send", "actions:run"})

# The far side gives up by the node's own timeout; waiting a little longer lets it say so itself.
_GRACE_SECONDS = 5.0
_LONGEST_KEY = 255
_BEGIN_ATTEMPTS = 5
_BEGIN_SECONDS = 60.0

log = get_logger(__name__)


class Caller(Protocol):
    """The sidecar, as far as effects need it."""

    async def call(
        self,
        invocation: Invocation[RequestT, ResultT],
        request: RequestT,
        *,
        identity: Identity,
        idempotency_key: str | None = None,
        timeout: float = 30,
    ) -> ResultT: ...


class CodeRunner(Protocol):
    """The sandbox, as far as effects need it."""

    async def run(self, request: CodeRequest) -> CodeResult: ...


StartChild = Callable[[Run, str, str, JsonObject], Awaitable[str]]


@dataclass(slots=True)
class Reach:
    """What effects may reach. ``start_child`` starts a run of another workflow for a step of this one."""

    caller: Caller
    sandbox: CodeRunner
    start_child: StartChild


class StepContext:
    """What one step's effect may reach."""

    def __init__(self, reach: Reach, run: Run, step: Step, seconds: float) -> None:
        self._reach = reach
        self._run = run
        self._path = step.path
        self._identity = as_workflow(run.organization, run.workflow, run.id, RUN_PERMISSIONS)
        self._timeout = seconds + _GRACE_SECONDS
        self._until = time.monotonic() + seconds
        self.key = effect_key(run.id, step.path, step.rounds)

    @property
    def payer(self) -> Payer:
        paid = self._run.payer
        return Payer(
            workflow=self._run.workflow, run=self._run.id, step=self._path, started_by=paid.by, teams=paid.teams
        )

    @property
    def seconds_left(self) -> float:
        return max(self._until - time.monotonic(), 0.0)

    async def call(
        self, invocation: Invocation[RequestT, ResultT], request: RequestT, *, key: str | None = None
    ) -> ResultT:
        return await self._reach.caller.call(
            invocation, request, identity=self._identity, idempotency_key=key or self.key, timeout=self._timeout
        )

    async def start_child(self, workflow: str, inputs: JsonObject) -> str:
        return await self._reach.start_child(self._run, self._path, workflow, inputs)

    async def run_code(self, request: CodeRequest) -> CodeResult:
        return await self._reach.sandbox.run(request)


def effect_key(run: str, path: str, rounds: int = 0) -> str:
    """The key of an effect: the same at every retry, after every crash, by whichever worker.

    Only when it is known that no attempt under it happened, the next one gets another key: what was refused stays
    refused under its own.
    """
    key = f"{run}/{path}#{rounds}" if rounds else f"{run}/{path}"
    if len(key) <= _LONGEST_KEY:
        return key
    return f"{run}/{hashlib.sha256(key.encode()).hexdigest()}"


async def perform(
    reach: Reach,
    run: Run,
    node: EffectNode,
    does: CompiledEffect,
    step: Step,
    lease: Lease,
    unwanted: Callable[[], bool],
) -> Step:
    """The step after one attempt: completed, failed, to be tried again later, or waiting for a person's word.

    ``unwanted``: whether it only goes on so that it is known what came of it. Then it is not tried again.
    """
    context = StepContext(reach, run, step, node.timeout_seconds)
    asked, since = 0, time.monotonic()
    while True:
        lease.check()
        try:
            return step.completed(await attempt(does, context, run, node, step))
        except NotYet as reason:
            return _put_off(step, node, reason)
        except Problem as problem:
            waited = time.monotonic() - since
            verdict = after_failure(problem, node, attempt=step.attempt, asked=asked, waited=waited)
            verdict = GiveUp() if isinstance(verdict, TryAgain) and unwanted() else verdict
            error, timed_out = StepError.of(problem), class_of(problem) == "timeout"
            in_doubt = does.safety != "idempotent" and may_have_happened(problem)
            refused = _is_refused_so_far(problem, does, step)
        log.info("an attempt failed", path=step.path, attempt=step.attempt, error=error.detail, then=repr(verdict))
        match verdict:
            case GiveUp():
                if timed_out:
                    await stop_quietly(does, context)  # it may still be at work, and nobody waits for it
                if in_doubt:
                    return await _find_out(does, context, node, replace(step, error=error), otherwise=error)
                return step.failed(error)
            case TryAgain(seconds):
                again = step.again(error, seconds)
                return replace(again, rounds=step.rounds + 1) if refused else again
            case AskPeople():
                otherwise = error if unwanted() else None
                return await _find_out(does, context, node, replace(step, error=error), otherwise=otherwise)
            case AskAgain(seconds):
                asked += 1
                await asyncio.sleep(seconds)


async def try_no_more(reach: Reach, run: Run, node: EffectNode, does: CompiledEffect, step: Step) -> Step:
    """The step between two attempts, when nobody wants the next one: failed, if it is known not to have happened."""
    error = step.error or StepError("cancelled", "Nobody wants it any more.")
    if does.safety == "idempotent":
        return step.failed(error)
    return await _find_out(does, StepContext(reach, run, step, node.timeout_seconds), node, step, otherwise=error)


async def attempt(does: CompiledEffect, context: StepContext, run: Run, node: EffectNode, step: Step) -> JsonObject:
    """The output, or a Problem."""
    started = time.perf_counter()
    outcome = "failed"
    kind = str(getattr(node, "kind", ""))
    try:
        with span("step", run=run.id, path=step.path, kind=kind, attempt=step.attempt):
            output = await does.run(step.input or {}, context)
        outcome = "completed"
        return clean(output)
    except NotYet:
        outcome = "not yet"
        raise
    except Problem as problem:
        outcome = "retryable" if problem.retryable else "failed"
        raise
    except Exception as error:
        log.exception("an effect raised", path=step.path, kind=kind)
        raise InternalError(f"The step failed in a way that nobody foresaw ({type(error).__name__}).") from error
    finally:
        metrics.STEP_SECONDS.labels(kind, outcome).observe(time.perf_counter() - started)


def _is_refused_so_far(problem: Problem, does: CompiledEffect, step: Step) -> bool:
    """Whether this refusal, and what is known of the attempts before it, says that nothing happened under the key.

    What may be repeated may have been sent before, by an attempt without an answer: then the key stays, by which the
    other side can tell that it is the same.
    """
    nothing_before = does.safety != "idempotent" or not does.reaches_world or step.rounds == step.attempt - 1
    return does.refused_by_key and not problem.retryable and nothing_before


async def begin_wait(
    reach: Reach, run: Run, begin: Callable[[JsonObject, EffectContext], Awaitable[None]], step: Step
) -> StepError | None:
    """Begin what a step waits for; why it could not be begun."""
    context = StepContext(reach, run, step, _BEGIN_SECONDS)
    for attempt in range(1, _BEGIN_ATTEMPTS + 1):
        try:
            await begin(step.input or {}, context)
        except Problem as problem:
            log.info("a wait could not be begun", path=step.path, error=problem.detail)
            if not problem.retryable or attempt == _BEGIN_ATTEMPTS:
                return StepError.of(problem)
            await asyncio.sleep(0.1 * 2**attempt)
        else:
            break
    return None


async def _find_out(
    does: CompiledEffect, context: StepContext, node: EffectNode, step: Step, *, otherwise: StepError | None = None
) -> Step:
    """Nobody knows whether the attempt happened: ask the other side where it can be asked, else a person.

    ``otherwise``: no attempt is left, and the step fails with this when it turns out that it did not happen.
    """
    if does.verify is None:
        return replace(step, status="waiting", wait=_question(node, step))
    try:
        output = await does.verify(step.input or {}, context)
    except Problem as problem:
        if otherwise is not None or step.attempt >= node.retry.attempts:
            return replace(step, status="waiting", wait=_question(node, step))
        return step.again(StepError.of(problem), pause_before(node, step.attempt))
    if output is not None:
        return step.completed(clean(output))
    return not_happened(step) if otherwise is None else step.failed(otherwise)


def _put_off(step: Step, node: EffectNode, reason: NotYet) -> Step:
    match reason:
        case AfterApproval():
            request: JsonObject = {
                "title": reason.title,
                "question": reason.question,
                "node": node.id,
                "kind": str(getattr(node, "kind", "")),
                **reason.about,
                "data": reason.data,
            }
            return replace(step, status="waiting", error=None, wait=WaitFor("approval", request))
        case AfterPause():
            return step.later(StepError(reason.reason, reason.detail), reason.seconds)
        case _:
            raise TypeError(f"nobody knows what {reason!r} waits for")


async def stop_quietly(does: CompiledEffect, context: StepContext) -> None:
    """Saying that something is not wanted any more must not hold up anything."""
    if does.stop is None:
        return
    try:
        await does.stop(context)
    except Problem as problem:
        log.warning(
            "an effect that is not wanted any more could not be stopped", key=context.key, reason=problem.detail
        )


def _question(node: EffectNode, step: Step) -> WaitFor:
    title = f"Did {node.name or node.id} take effect?"
    request: JsonObject = {"title": title, "node": node.id, "kind": str(getattr(node, "kind", "")), "input": step.input}
    return WaitFor("outcome", request)
