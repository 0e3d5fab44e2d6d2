"""From the name of a model to an answer of one of those it stands for.

``course`` says who may be asked and in which order, ``send`` asks one of them: again while it fails in passing and
nothing was paid, within the time there is. Who pays for what, and when the next one is asked, is for the caller.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from crewmesh_kit.logs import get_logger

from crewmesh_agent_crew.catalogue.costs import is_certainly_too_long, output_limit
from crewmesh_agent_crew.catalogue.models import Capability, ModelEntry
from crewmesh_agent_crew.models.calls import ModelCall, ModelReply, TextSink
from crewmesh_agent_crew.models.errors import ModelUnsuitable, ModelWithoutAccount
from crewmesh_agent_crew.providers.protocol import Account, FailureKind, ProviderError
from crewmesh_agent_crew.routing.answers import KeptAnswers
from crewmesh_agent_crew.routing.attempts import Attempts
from crewmesh_agent_crew.routing.breaker import LeftAloneError
from crewmesh_agent_crew.routing.candidates import Candidate, Course, Forbids, Patience, nothing_is_forbidden
from crewmesh_agent_crew.routing.hearing import Hearing
from crewmesh_agent_crew.routing.telemetry import count_kept_answer

_PASSES: frozenset[FailureKind] = frozenset({"limited", "overloaded", "unavailable", "cut"})

log = get_logger(__name__)


class Models(Protocol):
    """The catalogue, as far as it is needed here."""

    async def chain(self, organization: str, name: str) -> tuple[ModelEntry, ...]: ...


class Reachable(Protocol):
    """The accounts of an organization."""

    async def all(self, organization: str) -> Mapping[str, Account]: ...


class Router:
    def __init__(
        self,
        models: Models,
        accounts: Reachable,
        attempts: Attempts,
        kept_answers: KeptAnswers,
        *,
        patience: Patience,
        seconds: float,
    ) -> None:
        self._models = models
        self._accounts = accounts
        self._attempts = attempts
        self._kept_answers = kept_answers
        self._patience = patience
        self._seconds = seconds

    async def course(self, organization: str, call: ModelCall, *, forbids: Forbids = nothing_is_forbidden) -> Course:
        candidates = await self.candidates(organization, call, forbids=forbids)
        return Course(candidates, deadline=self._deadline(call), patience=self._patience)

    async def check(self, organization: str, name: str) -> None:
        """UnknownModel when the organization has no model or alias of that name."""
        await self._models.chain(organization, name)

    async def candidates(
        self, organization: str, call: ModelCall, *, forbids: Forbids = nothing_is_forbidden
    ) -> tuple[Candidate, ...]:
        """Those that may and can do what the call needs, in the order they are asked.

        A Problem says why there are none.
        """
        chain = _permitted(call.model, await self._models.chain(organization, call.model), forbids)
        accounts = await self._accounts.all(organization)
        reachable = [
            Candidate(entry, accounts[entry.provider], organization)
            for entry in chain
            if entry.provider is not None and entry.provider in accounts
        ]
        if not reachable:
            raise _without_account(call.model, chain)
        suited = _suited(call, reachable)
        return (*(replace(each, has_next=True) for each in suited[:-1]), suited[-1])

    async def kept(self, candidate: Candidate, call: ModelCall) -> ModelReply | None:
        """The candidate's answer to an equal call before, where the call may be answered so. It costs nothing."""
        reply = await self._kept_answers.find(candidate, call)
        if reply is not None:
            count_kept_answer(candidate.entry)
        return reply

    async def send(
        self, candidate: Candidate, call: ModelCall, sink: TextSink | None = None, *, deadline: float | None = None
    ) -> ModelReply:
        """The candidate's answer. Raises ProviderError when it has none; cancelling closes the connection.

        An error with ``tokens_paid`` is raised at once: what an attempt costs is reserved before it is made.
        """
        hearing = None if sink is None else Hearing(sink)
        ready = _as_the_entry_says(candidate.entry, call)
        until = self._deadline(call) if deadline is None else deadline
        for attempt in range(1, self._patience.attempts + 1):
            try:
                reply = await self._attempts.make(candidate, ready, hearing, deadline=until)
                await self._kept_answers.keep(candidate, call, reply)
                return reply
            except ProviderError as error:
                log.warning("model call failed", model=candidate.entry.name, attempt=attempt, reason=error.detail)
                if hearing is not None:
                    hearing.forget()
                pause = self._pause(candidate, error, attempt, until)
                if pause is None:
                    raise
            await asyncio.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _deadline(self, call: ModelCall) -> float:
        seconds = self._seconds if call.timeout_seconds is None else call.timeout_seconds
        return asyncio.get_running_loop().time() + seconds

    def _pause(self, candidate: Candidate, error: ProviderError, attempt: int, deadline: float) -> float | None:
        """How long to wait before asking the same again; none when that is not to be done."""
        last = attempt >= self._patience.attempts
        if last or error.kind not in _PASSES or error.tokens_paid or isinstance(error, LeftAloneError):
            return None
        longest = self._patience.longest(candidate)
        pause = min(self._patience.before(attempt), longest) if error.pause is None else error.pause
        too_long = pause > longest or asyncio.get_running_loop().time() + pause >= deadline
        return None if too_long else pause


def _permitted(name: str, chain: tuple[ModelEntry, ...], forbids: Forbids) -> tuple[ModelEntry, ...]:
    """Whoever may not ask the name may ask nothing that it stands for."""
    refusals = {entry.name: forbids(name, entry.name, entry.model) for entry in chain}
    permitted = tuple(entry for entry in chain if refusals[entry.name] is None)
    if not permitted:
        for refusal in filter(None, refusals.values()):
            raise refusal
    return permitted


def _as_the_entry_says(entry: ModelEntry, call: ModelCall) -> ModelCall:
    """The call with nothing left out."""
    temperature = entry.temperature if call.temperature is None else call.temperature
    return call.model_copy(update={"temperature": temperature, "max_tokens": output_limit(entry, call)})


def _needs(call: ModelCall) -> set[Capability]:
    needs: set[Capability] = set()
    if call.tools:
        needs.add("tools")
    if any(message.images for message in call.messages):
        needs.add("images")
    return needs


def _suited(call: ModelCall, candidates: list[Candidate]) -> list[Candidate]:
    needs = _needs(call)
    able = [each for each in candidates if needs <= each.entry.capabilities]
    if not able:
        names = ", ".join(each.entry.name for each in candidates)
        raise ModelUnsuitable(
            f"{call.model!r} is asked by {names}, which cannot do what this needs: {', '.join(sorted(needs))}. "
            "Name a model that can; GET /v1/models tells what each one can."
        )
    fitting = [each for each in able if not is_certainly_too_long(each.entry, call)]
    if not fitting:
        most = max(each.entry.context_tokens or 0 for each in able)
        raise ModelUnsuitable(
            f"The text is longer than {call.model!r} can read, which is {most} tokens. Shorten it, or name a model "
            "that reads more; GET /v1/models tells how much each one reads."
        )
    # A model that cannot be forced to a schema is told in words: the second choice, where there is a first.
    forced = [each for each in fitting if call.schema_ is None or "json_schema" in each.entry.capabilities]
    return forced or fitting


def _without_account(name: str, chain: tuple[ModelEntry, ...]) -> ModelWithoutAccount:
    kinds = ", ".join(dict.fromkeys(entry.kind for entry in chain))
    return ModelWithoutAccount(
        f"There is no account to ask {name!r} by. Add one of the kind {kinds} with POST /v1/providers, or name another "
        "model; GET /v1/models?usable=true lists those that can be asked."
    )
