"""Asking a model once per key: check, claim the key, ask, read the answer, and let it be stopped meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from crewmesh_contracts.invocations import ModelAnswer, ModelRequest
from crewmesh_kit.app import Resources
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.identity import Identity
from crewmesh_kit.logs import bound, get_logger

from crewmesh_agent_crew.models.answers import Following, OneOf, settled
from crewmesh_agent_crew.models.calls import Message, ModelCall
from crewmesh_agent_crew.models.json_schemas import JsonSchemas
from crewmesh_agent_crew.models.tasks import messages_of, wanted_of
from crewmesh_agent_crew.models.thinking import Thinking
from crewmesh_agent_crew.models.usage import Usage
from crewmesh_agent_crew.routing.router import Router
from crewmesh_agent_crew.spending.charge import Charge
from crewmesh_agent_crew.stopping.service import Stopping

# Around the question itself there are a few transactions.
_MARGIN_SECONDS = 10.0
_RUN = "run_"

log = get_logger(__name__)


class _Dialogue:
    """The questions of one request: numbered, for each is paid for by itself, and within the time of all of them."""

    def __init__(self, thinking: Thinking, request: ModelRequest, charge: Charge, key: str) -> None:
        self.usage = Usage()
        self._thinking = thinking
        self._request = request
        self._charge = charge
        self._key = key
        self._asked = 0
        self._deadline = asyncio.get_running_loop().time() + request.timeout_seconds

    async def ask(self, wanted: OneOf | Following | None, messages: Sequence[Message]) -> str:
        self._asked += 1
        call = ModelCall(
            model=self._request.model,
            messages=tuple(messages),
            schema_=None if wanted is None else wanted.schema,
            temperature=self._request.temperature,
            cacheable=self._request.reuse,
            max_tokens=self._request.max_tokens,
            timeout_seconds=max(self._deadline - asyncio.get_running_loop().time(), 0.001),
        )
        answer = await self._thinking.ask(call, self._charge, f"model/{self._key}/m{self._asked}")
        self.usage.add(answer)
        return answer.reply.text


class ModelService:
    def __init__(
        self,
        thinking: Thinking,
        router: Router,
        schemas: JsonSchemas,
        idempotency: Idempotency,
        stopping: Stopping,
    ) -> None:
        self._thinking = thinking
        self._router = router
        self._schemas = schemas
        self._idempotency = idempotency
        self._stopping = stopping

    async def ask(self, identity: Identity, key: str, request: ModelRequest) -> ModelAnswer:
        """The model's answer. The same key gets the same answer, or joins a question that is still open."""
        await self._router.check(identity.organization, request.model)
        wanted = await wanted_of(request, self._schemas)
        return await self._idempotency.once(
            identity=identity,
            scope="model",
            key=key,
            request=request,
            result=ModelAnswer,
            work=partial(self._work, identity, key, request, wanted),
            wait=request.timeout_seconds + _MARGIN_SECONDS,
        )

    async def _work(
        self, identity: Identity, key: str, request: ModelRequest, wanted: OneOf | Following | None
    ) -> ModelAnswer:
        with bound(task=request.task, model=request.model, requested_by=identity.subject):
            dialogue = _Dialogue(self._thinking, request, _charge(identity, request), key)
            async with self._stopping.stoppable(identity, key):
                answer = await _answer(request, wanted, dialogue)
            log.info("model answered", **answer.usage.model_dump(exclude={"model"}), answered_by=answer.usage.model)
            return answer


async def _answer(request: ModelRequest, wanted: OneOf | Following | None, dialogue: _Dialogue) -> ModelAnswer:
    ask = partial(dialogue.ask, wanted)
    usage = dialogue.usage
    messages = messages_of(request, wanted)
    text = await ask(messages)
    match wanted:
        case None:
            return ModelAnswer(text=text, usage=usage.told())
        case OneOf():
            label = await settled(text, wanted, asked=messages, ask=ask, usage=usage)
            return ModelAnswer(text=label.text, label=label.value, usage=usage.told())
        case Following():
            data = await settled(text, wanted, asked=messages, ask=ask, usage=usage)
            return ModelAnswer(text=data.text, data=data.value, usage=usage.told())


def _charge(identity: Identity, request: ModelRequest) -> Charge:
    """The step and the run it is of, in the name of whoever started that."""
    payer = request.payer
    person = payer.started_by or ""
    return Charge(
        organization=identity.organization,
        workflow=payer.workflow,
        run=payer.run or (identity.subject if identity.subject.startswith(_RUN) else None),
        step=payer.step,
        user=person if person.startswith("usr_") else None,
        api_key=person if person.startswith("key_") else None,
        teams=frozenset(payer.teams),
    )


@asynccontextmanager
async def open_model_service(resources: Resources) -> AsyncGenerator[ModelService]:
    yield ModelService(
        resources.get(Thinking),
        resources.get(Router),
        resources.get(JsonSchemas),
        resources.get(Idempotency),
        resources.get(Stopping),
    )
