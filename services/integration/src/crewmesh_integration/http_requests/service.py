"""Once per key: record the attempt, send, judge the answer, record the outcome, hand it back."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial

from crewmesh_contracts.invocations import HttpReply, HttpSend
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.errors import Problem
from crewmesh_kit.identity import Identity
from crewmesh_kit.logs import get_logger
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_integration.deliveries.repository import Attempt, Result, complete
from crewmesh_integration.deliveries.schemas import Outcome
from crewmesh_integration.deliveries.service import Deliveries
from crewmesh_integration.guard.client import GuardedClient, OutboundRequest
from crewmesh_integration.guard.errors import DestinationRefused
from crewmesh_integration.http_requests.errors import OutcomeUnknown, UpstreamRefused, UpstreamUnavailable
from crewmesh_integration.http_requests.metrics import OUTBOUND_REQUESTS, OUTBOUND_SECONDS
from crewmesh_integration.http_requests.outgoing import Outgoing, outgoing
from crewmesh_integration.http_requests.replies import certain, judge
from crewmesh_integration.signing.webhooks import WebhookSigner

IDEMPOTENCY_SCOPE = "http"
# Around the request itself there are a few transactions.
_MARGIN_SECONDS = 10.0
_LONGEST_ERROR = 300

log = get_logger(__name__)


@dataclass(slots=True)
class _Told:
    """The outcome of the last attempt. It is on record if and only if the answer is kept: a record that says answered
    while the answer is lost would be followed by a second request."""

    attempt: Attempt | None = None
    result: Result | None = None

    async def write(self, connection: AsyncConnection[DictRow]) -> None:
        if self.attempt is not None and self.result is not None:
            await complete(connection, self.attempt.id, self.result)


class HttpRequests:
    def __init__(
        self, *, client: GuardedClient, signer: WebhookSigner, deliveries: Deliveries, idempotency: Idempotency
    ) -> None:
        self._client = client
        self._signer = signer
        self._deliveries = deliveries
        self._idempotency = idempotency

    async def send(self, identity: Identity, key: str, request: HttpSend) -> HttpReply:
        """Send the request unless it was answered under this key before; then repeat the answer.

        A refusal is an answer. A failure that may pass is not: the next call with the key sends again, unless the
        request is not repeatable and the failure leaves open whether it took effect.
        """
        checked, told = outgoing(request), _Told()
        return await self._idempotency.once(
            identity=identity,
            scope=IDEMPOTENCY_SCOPE,
            key=key,
            request=request,
            result=HttpReply,
            work=partial(self._attempt, identity, key, checked, told),
            wait=request.timeout_seconds + _MARGIN_SECONDS,
            with_it=told.write,
        )

    async def _attempt(self, identity: Identity, key: str, request: Outgoing, told: _Told) -> HttpReply:
        if not request.repeatable:
            await self._refuse_a_second(identity, key)
        attempt = await self._deliveries.begin(
            identity, key=key, method=request.method, target=request.target, repeatable=request.repeatable
        )
        started = time.monotonic()
        outcome = await self._outcome(key, request)
        result = _result(outcome, time.monotonic() - started)
        OUTBOUND_REQUESTS.labels(result.outcome).inc()
        OUTBOUND_SECONDS.observe(result.duration_ms / 1000)
        if isinstance(outcome, Problem) and outcome.retryable:
            await self._deliveries.finish(attempt, result)
        else:
            told.attempt, told.result = attempt, result
        log.info(
            "sent a request",
            delivery=attempt.id,
            run=attempt.run,
            host=attempt.host,
            outcome=result.outcome,
            status=result.status,
            duration_ms=result.duration_ms,
        )
        if isinstance(outcome, Problem):
            raise outcome
        return outcome

    async def _refuse_a_second(self, identity: Identity, key: str) -> None:
        """An attempt whose answer was not handed back: the service died, or its database was away for too long."""
        before = await self._deliveries.that_may_have_happened(identity, key)
        if before is not None:
            why = "The service stopped before the outcome of the request was written down."
            raise OutcomeUnknown(why, delivery=before.id, upstream_status=before.status)

    async def _outcome(self, key: str, request: Outgoing) -> HttpReply | Problem:
        sending = OutboundRequest(
            method=request.method,
            target=request.target,
            headers=request.headers,
            body=request.body,
            timeout_seconds=request.timeout_seconds,
            seal=partial(self._signer.headers, key),
            same_origin=request.same_origin,
        )
        try:
            answer = await self._client.send(sending)
        except Problem as problem:
            return problem if request.repeatable else certain(problem)
        outcome = judge(answer, host=request.target.host)
        return outcome if request.repeatable else certain(outcome, redirects=answer.redirects)


def _result(outcome: HttpReply | Problem, seconds: float) -> Result:
    kind: Outcome = "unavailable"
    status: int | None = None
    match outcome:
        case HttpReply():
            kind, status = "answered", outcome.status
        case UpstreamRefused() | UpstreamUnavailable():
            kind, status = "unavailable" if outcome.retryable else "refused", outcome.upstream_status
        case OutcomeUnknown():
            kind = "unknown"
        case DestinationRefused():
            kind = "blocked"
        case _:
            kind = "unavailable" if outcome.retryable else "refused"
    # What the other side said stays out of the record: it may repeat what it was sent.
    error = None
    if isinstance(outcome, Problem):
        error = outcome.title if status is not None else outcome.detail[:_LONGEST_ERROR]
    return Result(outcome=kind, status=status, duration_ms=round(seconds * 1000), error=error)
