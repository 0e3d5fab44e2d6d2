"""Does one attempt of an effect, as the run, under the step's key, and measures it.

Whatever goes wrong comes out as a Problem: a foreign exception is a fault of ours, logged, and worth another attempt.
"""

from __future__ import annotations

import time
from typing import Protocol, TypeVar

from crewmesh_contracts.base import Contract, JsonObject, Reply
from crewmesh_contracts.invocations import Invocation
from crewmesh_contracts.workflow.nodes.base import EffectNode
from crewmesh_kit.errors import InternalError, Problem
from crewmesh_kit.identity import Identity
from crewmesh_kit.logs import get_logger
from crewmesh_kit.telemetry import span

from crewmesh_workflow.engine import metrics
from crewmesh_workflow.engine.journal import Run
from crewmesh_workflow.engine.payloads import clean
from crewmesh_workflow.engine.plan import Effect

RequestT = TypeVar("RequestT", bound=Contract)
ResultT = TypeVar("ResultT", bound=Reply)

RUN_PERMISSIONS = frozenset({"knowledge:read", "crews:run", "http:send"})

# The far side gives up by the node's own timeout; waiting a little longer lets it say so itself.
_GRACE_SECONDS = 5.0

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


class StepContext:
    """What an effect may reach: other services, as this run, under this step's key."""

    def __init__(self, caller: Caller, run: Run, node: EffectNode) -> None:
        self._caller = caller
        self._identity = Identity(run.organization, run.id, RUN_PERMISSIONS)
        self._key = effect_key(run.id, node.id)
        self._timeout = node.timeout_seconds + _GRACE_SECONDS

    async def call(self, invocation: Invocation[RequestT, ResultT], request: RequestT) -> ResultT:
        return await self._caller.call(
            invocation, request, identity=self._identity, idempotency_key=self._key, timeout=self._timeout
        )


def effect_key(run: str, node: str, iteration: int = 0) -> str:
    """The key of an effect: the same at every retry, after every crash, by whichever worker."""
    return f"{run}/{node}/{iteration}"


async def attempt(caller: Caller, run: Run, node: EffectNode, kind: str, effect: Effect) -> JsonObject:
    """The output, or a Problem."""
    started = time.perf_counter()
    outcome = "failed"
    try:
        with span("step", run=run.id, node=node.id, kind=kind, attempt=effect.step.attempt):
            output = await effect.does.run(effect.step.input or {}, StepContext(caller, run, node))
        outcome = "completed"
        return clean(output)
    except Problem as problem:
        outcome = "retryable" if problem.retryable else "failed"
        raise
    except Exception as error:
        log.exception("an effect raised", node=node.id, kind=kind)
        raise InternalError(f"The step failed in a way that nobody foresaw ({type(error).__name__}).") from error
    finally:
        metrics.STEP_SECONDS.labels(kind, outcome).observe(time.perf_counter() - started)
