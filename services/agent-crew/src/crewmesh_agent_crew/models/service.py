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
from crewmesh_agent_crew.models.client import ModelClient
from crewmesh_agent_crew.models.json_schemas import JsonSchemas
from crewmesh_agent_crew.models.schemas import ChatMessage, Usage, Wishes
from crewmesh_agent_crew.models.tasks import messages_of, wanted_of
from crewmesh_agent_crew.stopping.service import Stopping

# Around the question itself there are a few transactions.
_MARGIN_SECONDS = 10.0

log = get_logger(__name__)


class ModelService:
    def __init__(self, client: ModelClient, schemas: JsonSchemas, idempotency: Idempotency, stopping: Stopping) -> None:
        self._client = client
        self._schemas = schemas
        self._idempotency = idempotency
        self._stopping = stopping

    async def ask(self, identity: Identity, key: str, request: ModelRequest) -> ModelAnswer:
        """The model's answer. The same key gets the same answer, or joins a question that is still open."""
        model = self._client.named(request.model)
        wanted = await wanted_of(request, self._schemas)
        return await self._idempotency.once(
            identity=identity,
            scope="model",
            key=key,
            request=request,
            result=ModelAnswer,
            work=partial(self._work, identity, key, request, model, wanted),
            wait=request.timeout_seconds + _MARGIN_SECONDS,
        )

    async def _work(
        self, identity: Identity, key: str, request: ModelRequest, model: str, wanted: OneOf | Following | None
    ) -> ModelAnswer:
        with bound(task=request.task, model=model, requested_by=identity.subject):
            async with self._stopping.stoppable(identity, key):
                answer = await self._answer(request, model, wanted)
            log.info("model answered", **answer.usage.model_dump(exclude={"model"}))
            return answer

    async def _answer(self, request: ModelRequest, model: str, wanted: OneOf | Following | None) -> ModelAnswer:
        usage = Usage()
        ask = partial(self._ask, request, usage, wanted, asyncio.get_running_loop().time() + request.timeout_seconds)
        messages = messages_of(request, wanted)
        text = await ask(messages)
        match wanted:
            case None:
                return ModelAnswer(text=text, usage=usage.of(model))
            case OneOf():
                label = await settled(text, wanted, asked=messages, ask=ask, usage=usage, model=model)
                return ModelAnswer(text=label.text, label=label.value, usage=usage.of(model))
            case Following():
                data = await settled(text, wanted, asked=messages, ask=ask, usage=usage, model=model)
                return ModelAnswer(text=data.text, data=data.value, usage=usage.of(model))

    async def _ask(
        self,
        request: ModelRequest,
        usage: Usage,
        wanted: OneOf | Following | None,
        deadline: float,
        messages: Sequence[ChatMessage],
    ) -> str:
        """One question; both have to fit into the time there is."""
        wishes = Wishes(
            model=request.model,
            temperature=request.temperature,
            max_tokens=request.max_tokens,
            timeout_seconds=max(deadline - asyncio.get_running_loop().time(), 0.001),
            schema=None if wanted is None else wanted.schema,
        )
        return await self._client.ask(messages, usage, wishes)


@asynccontextmanager
async def open_model_service(resources: Resources) -> AsyncGenerator[ModelService]:
    yield ModelService(
        resources.get(ModelClient), resources.get(JsonSchemas), resources.get(Idempotency), resources.get(Stopping)
    )
