"""Asking a model once per key: check, claim the key, ask, read the answer, and let it be stopped meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from crewmesh_contracts.invocations import ModelAnswer, ModelRequest, TokenUsage
from crewmesh_kit.app import Resources
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.identity import Identity
from crewmesh_kit.logs import bound, get_logger

from crewmesh_agent_crew.models.answers import Following, OneOf, settled
from crewmesh_agent_crew.models.calls import Message, ModelCall
from crewmesh_agent_crew.models.json_schemas import JsonSchemas
from crewmesh_agent_crew.models.tasks import messages_of, wanted_of
from crewmesh_agent_crew.models.thinking import Thinking
from crewmesh_agent_crew.models.usage import Used
from crewmesh_agent_crew.routing.router import Router
from crewmesh_agent_crew.spending.charge import Charge
from crewmesh_agent_crew.spending.charged_to import ChargedTo
from crewmesh_agent_crew.stopping.service import Stopping

# Around the question itself there are a few transactions.
_MARGIN_SECONDS = 10.0

log = get_logger(__name__)


class _Dialogue:
    """The questions of one request: numbered, for each is paid for by itself, and within the time of all of them."""

    def __init__(self, thinking: Thinking, request: ModelRequest, charge: Charge, key: str) -> None:
        self._used = Used()
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
        self._used = self._used.and_(answer)
        return answer.reply.text

    def usage(self) -> TokenUsage:
        """Of all questions so far."""
        return self._used.told()


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
            dialogue = _Dialogue(
                self._thinking, request, ChargedTo.of_payer(request.payer).charge(identity.organization), key
            )
            async with self._stopping.stoppable(identity, key):
                answer = await _answer(request, wanted, dialogue)
            log.info("model answered", **answer.usage.model_dump(exclude={"model"}), answered_by=answer.usage.model)
            return answer


async def _answer(request: ModelRequest, wanted: OneOf | Following | None, dialogue: _Dialogue) -> ModelAnswer:
    ask, usage = partial(dialogue.ask, wanted), dialogue.usage
    messages = messages_of(request, wanted)
    text = await ask(messages)
    match wanted:
        case None:
            return ModelAnswer(text=text, usage=usage())
        case OneOf():
            label = await settled(text, wanted, asked=messages, ask=ask, usage=usage)
            return ModelAnswer(text=label.text, label=label.value, usage=usage())
        case Following():
            data = await settled(text, wanted, asked=messages, ask=ask, usage=usage)
            return ModelAnswer(text=data.text, data=data.value, usage=usage())


@asynccontextmanager
async def open_model_service(resources: Resources) -> AsyncGenerator[ModelService]:
    yield ModelService(
        resources.get(Thinking),
        resources.get(Router),
        resources.get(JsonSchemas),
        resources.get(Idempotency),
        resources.get(Stopping),
    )
