"""The one door to models: everything that asks one, asks here.

Behind it, in this order: the ledger (what was answered under this key before is the answer), the router's candidates,
the budgets (the worst case is reserved), the call, and one transaction that settles the cost and keeps the answer.

Whoever asks under a key that is being asked already waits for that answer: in this process by joining, across replicas
by looking at the ledger. A call is cancelled when nobody waits for it any more, and is charged for what it may have
cost until then.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from crewmesh_kit.app import Resources
from crewmesh_kit.errors import IdempotencyKeyReused, InternalError, Problem, Unavailable
from crewmesh_kit.logs import get_logger

from crewmesh_agent_crew.budgets.errors import BudgetInUse, refusal
from crewmesh_agent_crew.catalogue.costs import cost, worst_cost
from crewmesh_agent_crew.models.calls import ModelCall, ModelReply, TextSink
from crewmesh_agent_crew.models.overheard import Overheard, tokens_at_most, tokens_of
from crewmesh_agent_crew.providers.protocol import ProviderError
from crewmesh_agent_crew.routing.candidates import Candidate, Course, Forbids, nothing_is_forbidden
from crewmesh_agent_crew.routing.router import Router
from crewmesh_agent_crew.spending.charge import Charge
from crewmesh_agent_crew.spending.metrics import REFUSED
from crewmesh_agent_crew.spending.models import (
    NO_TOKENS,
    Attempt,
    Began,
    Begun,
    Done,
    End,
    Ending,
    Refused,
    Settled,
    Switch,
    UnderWay,
)
from crewmesh_agent_crew.spending.reaching import noticed
from crewmesh_agent_crew.spending.service import Ledger

T = TypeVar("T")

_FIRST_PAUSE_SECONDS = 0.02
_LONGEST_PAUSE_SECONDS = 0.5
# How long to wait for others to give back what they reserved of a budget and do not need.
_GIVEN_BACK_WITHIN_SECONDS = 20.0

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """``cost`` in nano-dollars. ``repeated``: it stood in the ledger, and nothing was asked or paid now."""

    reply: ModelReply
    cost: int
    repeated: bool = False


@dataclass(slots=True)
class _Asked:
    """``attempts``: how many were begun."""

    call: ModelCall
    charge: Charge
    key: str
    request_hash: str
    sink: TextSink | None
    forbids: Forbids

    attempts: int = 0

    def attempt(self, candidate: Candidate, *, free: bool) -> Attempt:
        return Attempt(
            charge=self.charge,
            key=self.key,
            request_hash=self.request_hash,
            provider=candidate.account.name,
            model=candidate.entry.name,
            price_version=candidate.entry.price_version,
            worst=0 if free else worst_cost(candidate.entry, self.call),
            number=self.attempts + 1,
        )

    def by(self, model: str) -> ModelCall:
        return self.call if model == self.call.model else self.call.model_copy(update={"model": model})


class _Asking:
    """One question under way in this process, and how many wait for its answer."""

    def __init__(self, request_hash: str, task: asyncio.Task[Answer]) -> None:
        self.request_hash = request_hash
        self.task = task
        self._waiting = 0

    async def answer(self) -> Answer:
        self._waiting += 1
        try:
            return await asyncio.shield(self.task)
        except asyncio.CancelledError:
            waiter = asyncio.current_task()
            if self.task.cancelled() and waiter is not None and not waiter.cancelling():
                raise Unavailable("The service is stopping; ask again under the same key.") from None
            raise
        finally:
            self._waiting -= 1
            if self._waiting == 0:
                self.task.cancel()  # it is over, or nobody wants it any more


class Thinking:
    def __init__(self, ledger: Ledger, router: Router, *, patience_seconds: float = _GIVEN_BACK_WITHIN_SECONDS) -> None:
        self._ledger = ledger
        self._router = router
        self._patience = patience_seconds
        self._asking: dict[tuple[str, str], _Asking] = {}
        # Those that were given up and write down what they cost: none is forgotten before it has.
        self._tasks: set[asyncio.Task[Answer]] = set()

    async def ask(
        self,
        call: ModelCall,
        charge: Charge,
        key: str,
        *,
        sink: TextSink | None = None,
        forbids: Forbids = nothing_is_forbidden,
    ) -> Answer:
        """Once per key within the organization. Raises a Problem; ``BudgetExhausted`` when no budget pays for it.

        No model that ``forbids`` names is asked, neither when others fail nor when a budget wants a cheaper one.
        """
        asked = _Asked(call, charge, key, request_hash_of(call), sink, forbids)
        place = (charge.organization, key)
        while (earlier := self._asking.get(place)) is not None and earlier.task.cancelling():
            await asyncio.wait([earlier.task])  # it was given up; what it cost is being written down
        asking = self._asking.get(place) or self._begin(place, asked)
        _check_same(key, asking.request_hash, asked)
        return await asking.answer()

    async def close(self) -> None:
        """Give up what is under way; what it cost is written down."""
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks, timeout=1.0)

    def _begin(self, place: tuple[str, str], asked: _Asked) -> _Asking:
        task = asyncio.create_task(self._answer(asked), name="model call")
        asking = self._asking[place] = _Asking(asked.request_hash, task)
        self._tasks.add(task)

        def over(task: asyncio.Task[Answer]) -> None:
            self._tasks.discard(task)
            if self._asking.get(place) is asking:
                del self._asking[place]
            if not task.cancelled():
                task.exception()  # everybody who waited may have left; then nobody else looks at it

        task.add_done_callback(over)
        return asking

    async def _answer(self, asked: _Asked) -> Answer:
        pause = _FIRST_PAUSE_SECONDS
        given_up_at = time.monotonic() + self._patience
        while True:
            try:
                answer = await self._go(asked)
            except BudgetInUse:
                if time.monotonic() + pause >= given_up_at:
                    raise
                answer = None
            if answer is not None:
                return answer
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    async def _go(self, asked: _Asked) -> Answer | None:
        """One way along the candidates; none when somebody else is asking, at another replica."""
        course = await self._course(asked)
        if isinstance(course, Answer):
            return course
        switched = False
        while True:
            candidate = await course.next()
            kept = await self._router.kept(candidate, asked.call)
            attempt = asked.attempt(candidate, free=kept is not None)
            match await self._begin_attempt(attempt, may_switch=not switched):
                case Begun():
                    asked.attempts += 1
                    if kept is not None:
                        return await self._give(asked, attempt, kept)
                    if (answer := await self._send(asked, attempt, course, candidate)) is not None:
                        return answer
                case Done() as done:
                    return _repeated(asked, done)
                case UnderWay():
                    return None
                case Switch(model):
                    course, switched = await self._switched(asked, course, model), True
                case Refused(budgets):
                    problem = refusal(budgets, attempt.worst)
                    REFUSED.labels(problem.slug).inc()
                    raise problem

    async def _give(self, asked: _Asked, attempt: Attempt, kept: ModelReply) -> Answer:
        """An answer to an equal question, which is free."""
        if asked.sink is not None and kept.text:
            asked.sink.add(kept.text)
        settled = await _undisturbed(self._ledger.end(attempt, End("cached", reply=kept)))
        return Answer(kept if settled is None else settled.reply, 0)

    async def _course(self, asked: _Asked) -> Course | Answer:
        """What was answered stays answered, also when its model is not there any more."""
        try:
            return await self._router.course(asked.charge.organization, asked.call, forbids=asked.forbids)
        except Problem:
            done = await self._ledger.answered(asked.charge.organization, asked.key)
            if done is None:
                raise
            return _repeated(asked, done)

    async def _switched(self, asked: _Asked, course: Course, model: str) -> Course:
        """To what a budget wants to be asked once it is nearly used; the same as before if that cannot be asked."""
        try:
            return await self._router.course(asked.charge.organization, asked.by(model), forbids=asked.forbids)
        except Problem as problem:
            log.warning("a budget's cheaper model cannot be asked", model=model, reason=problem.detail)
            return course

    async def _begin_attempt(self, attempt: Attempt, *, may_switch: bool) -> Began:
        """Cancelled meanwhile: what was reserved is given back."""
        beginning = asyncio.ensure_future(self._ledger.begin(attempt, may_switch=may_switch))
        try:
            return await asyncio.shield(beginning)
        except asyncio.CancelledError:
            await asyncio.wait([beginning])
            if not beginning.cancelled() and beginning.exception() is None and isinstance(beginning.result(), Begun):
                await _undisturbed(self._ledger.end(attempt, End("cancelled")))
            raise

    async def _send(self, asked: _Asked, attempt: Attempt, course: Course, candidate: Candidate) -> Answer | None:
        """The answer; none when another candidate may have one. Whatever happens, the attempt is settled."""
        overheard = Overheard(asked.sink)
        started = time.monotonic()

        async def end(end: End) -> Settled | None:
            return await _undisturbed(self._ledger.end(attempt, end))

        with noticed() as reach:
            try:
                reply = await self._router.send(candidate, asked.call, overheard.sink, deadline=course.deadline)
            except BaseException as error:
                tokens = tokens_at_most(candidate.entry, asked.call, overheard) if reach.paid else NO_TOKENS
                paid = min(cost(candidate.entry, tokens), attempt.worst)
                await end(End(_ending(error), paid, tokens, time.monotonic() - started, _slug(error)))
                if not isinstance(error, ProviderError):
                    raise
                course.failed(candidate, error)
                return None
        tokens = tokens_of(candidate.entry, asked.call, reply)
        paid = cost(candidate.entry, tokens)
        settled = await end(End("ok", paid, tokens, time.monotonic() - started, reply=reply))
        return Answer(reply, paid) if settled is None else Answer(settled.reply, settled.cost)


def _ending(error: BaseException) -> Ending:
    return "cancelled" if isinstance(error, asyncio.CancelledError) else "failed"


def _slug(error: BaseException) -> str | None:
    match error:
        case ProviderError():
            return f"provider-{error.kind}"
        case Problem():
            return error.slug
        case asyncio.CancelledError():
            return None
        case _:
            return InternalError.slug


def request_hash_of(call: ModelCall) -> str:
    """Of what is asked; how long it may take, and whether from a cache, makes it no other question."""
    asked = call.model_copy(update={"timeout_seconds": None, "cacheable": False})
    return hashlib.sha256(asked.model_dump_json().encode("utf-8", "surrogatepass")).hexdigest()


def _repeated(asked: _Asked, done: Done) -> Answer:
    _check_same(asked.key, done.request_hash, asked)
    return Answer(done.reply, done.cost, repeated=True)


def _check_same(key: str, request_hash: str, asked: _Asked) -> None:
    if request_hash != asked.request_hash:
        raise IdempotencyKeyReused(
            f"Under the key {key[:100]!r} a model was asked something else before; ask under another key."
        )


async def _undisturbed(work: Awaitable[T]) -> T:
    """What must be done to its end, whoever is cancelled meanwhile; the cancellation comes afterwards."""
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


@asynccontextmanager
async def open_thinking(resources: Resources) -> AsyncGenerator[Thinking]:
    thinking = Thinking(resources.get(Ledger), resources.get(Router))
    try:
        yield thinking
    finally:
        await thinking.close()
