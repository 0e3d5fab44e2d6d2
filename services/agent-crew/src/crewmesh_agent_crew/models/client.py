"""One model server behind an OpenAI-compatible URL: asked with patience, counted, measured, bounded in time and size.

Busy (429) and failing (5xx, no connection, an empty answer) are tried again with growing pauses, as Retry-After says
where it is given. Any other refusal is final: asking again would only cost again. Whoever asks and is cancelled closes
the connection, which is how the server learns that it may stop.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass

import aiohttp
from crewmesh_contracts.base import JsonObject
from crewmesh_kit.app import Resources
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.errors import Problem
from crewmesh_kit.logs import get_logger
from crewmesh_kit.telemetry import span
from pydantic import ValidationError

from crewmesh_agent_crew.models.errors import (
    ModelRateLimited,
    ModelRefused,
    ModelTimeout,
    ModelUnavailable,
    UnknownModel,
)
from crewmesh_agent_crew.models.metrics import MODEL_ATTEMPTS, MODEL_SECONDS, MODEL_TOKENS
from crewmesh_agent_crew.models.schemas import NO_WISHES, ChatMessage, Completion, Usage, Wishes
from crewmesh_agent_crew.settings import ModelSettings, Settings

DEFAULT_MODEL = "default"
_LARGEST_ANSWER_BYTES = 2 * 1024 * 1024
_LONGEST_PAUSE_SECONDS = 20.0
_TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_NOT_UNDERSTOOD = (400, 422)

log = get_logger(__name__)


class _BusyError(Exception):
    """Worth another attempt, after ``pause`` seconds if the server named them."""

    def __init__(self, reason: str, pause: float | None = None, *, limited: bool = False) -> None:
        super().__init__(reason)
        self.pause = pause
        self.limited = limited


class _FormatRefusedError(Exception):
    """The server does not take the request, and the format it asks for may be why."""


@dataclass(frozen=True, slots=True)
class _Question:
    """What is sent: one request body, and which model it is for."""

    model: str
    body: JsonObject

    @property
    def has_format(self) -> bool:
        return "response_format" in self.body


class ModelClient:
    def __init__(self, session: aiohttp.ClientSession, settings: ModelSettings, *, api_key: str = "") -> None:
        self._session = session
        self._settings = settings
        self._url = f"{settings.url.rstrip('/')}/chat/completions"
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}

    @property
    def model(self) -> str:
        """The one that is asked when nobody names another."""
        return self._settings.name

    def named(self, name: str | None) -> str:
        """The server's name of a model that was asked for by its name or alias."""
        known = {DEFAULT_MODEL: self.model, self.model: self.model, **self._settings.aliases}
        if name is None:
            return self.model
        if name not in known:
            raise UnknownModel(name, known)
        return known[name]

    async def ask(self, messages: Sequence[ChatMessage], usage: Usage, wishes: Wishes = NO_WISHES) -> str:
        """The model's answer, never empty. What it cost is added to ``usage``, also for attempts that led nowhere."""
        model = self.named(wishes.model)
        seconds = wishes.timeout_seconds or self._settings.timeout_seconds
        started = time.monotonic()
        outcome = "error"
        try:
            with span(f"chat {model}", **{"gen_ai.operation.name": "chat", "gen_ai.request.model": model}):
                async with asyncio.timeout(seconds):
                    answer = await self._ask_in_some_format(model, messages, usage, wishes)
            outcome = "ok"
            return answer
        except TimeoutError as error:
            outcome = "timeout"
            raise ModelTimeout(f"The model {model} did not answer within {seconds:g} s; try again later.") from error
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        finally:
            MODEL_SECONDS.labels(model, outcome).observe(time.monotonic() - started)

    async def _ask_in_some_format(
        self, model: str, messages: Sequence[ChatMessage], usage: Usage, wishes: Wishes
    ) -> str:
        """In the strictest format that the server takes: not every server, nor every schema, can be forced."""
        for format_ in _formats(wishes.schema):
            question = _Question(model, self._body(model, messages, wishes) | format_)
            try:
                return await self._ask_patiently(question, usage)
            except _FormatRefusedError as refusal:
                log.info("model server does not take this format", model=model, reason=str(refusal))
        raise AssertionError("without a format nothing refuses one")

    async def _ask_patiently(self, question: _Question, usage: Usage) -> str:
        last = _BusyError("it was not asked")
        for attempt in range(self._settings.attempts):
            try:
                return await self._ask_once(question, usage)
            except _BusyError as busy:
                last = busy
            log.warning("model call failed", model=question.model, attempt=attempt + 1, reason=str(last))
            if attempt + 1 < self._settings.attempts:
                pause = self._pause(attempt) if last.pause is None else min(last.pause, _LONGEST_PAUSE_SECONDS)
                await asyncio.sleep(pause)
        raise self._gave_up(question, last)

    def _gave_up(self, question: _Question, last: _BusyError) -> Problem:
        kind = ModelRateLimited if last.limited else ModelUnavailable
        return kind(
            f"The model {question.model} failed {self._settings.attempts} times, last because {last}; try again later.",
            headers={"Retry-After": f"{5 if last.pause is None else last.pause:.0f}"},
        )

    def _pause(self, attempt: int) -> float:
        longest = min(self._settings.backoff_seconds * 2**attempt, _LONGEST_PAUSE_SECONDS)
        return longest * random.uniform(0.5, 1.0)

    async def _ask_once(self, question: _Question, usage: Usage) -> str:
        try:
            # Redirects are not followed: the key would travel to wherever they point.
            async with self._session.post(
                self._url, json=question.body, headers=self._headers, allow_redirects=False
            ) as answer:
                body = await _bounded_body(answer.content)
        except aiohttp.ClientError as error:
            MODEL_ATTEMPTS.labels(question.model, "unreachable").inc()
            raise _BusyError(f"its server cannot be reached ({type(error).__name__})") from error
        MODEL_ATTEMPTS.labels(question.model, str(answer.status)).inc()
        if answer.status != 200:
            raise self._failure(question, answer.status, answer.headers.get("Retry-After", ""), body)
        return self._read(question.model, body, usage)

    def _body(self, model: str, messages: Sequence[ChatMessage], wishes: Wishes) -> JsonObject:
        temperature, most = wishes.temperature, wishes.max_tokens
        return {
            "model": model,
            "messages": [asdict(message) for message in messages],
            "temperature": self._settings.temperature if temperature is None else temperature,
            self._settings.token_limit_parameter: self._settings.max_tokens if most is None else most,
        }

    def _read(self, model: str, body: bytes, usage: Usage) -> str:
        try:
            completion = Completion.model_validate_json(body)
        except ValidationError as error:
            raise ModelRefused(
                f"What {self._settings.url} answers is no chat completion; is it an OpenAI-compatible URL?"
            ) from error
        usage.requests += 1
        usage.prompt_tokens += completion.tokens.prompt_tokens
        usage.completion_tokens += completion.tokens.completion_tokens
        MODEL_TOKENS.labels(model, "prompt").inc(completion.tokens.prompt_tokens)
        MODEL_TOKENS.labels(model, "completion").inc(completion.tokens.completion_tokens)
        if not completion.text:
            raise _BusyError("its answer was empty")
        return completion.text

    def _failure(self, question: _Question, status: int, retry_after: str, body: bytes) -> Exception:
        if status in _TRANSIENT:
            pause = float(retry_after) if retry_after.isdigit() else None
            return _BusyError(f"its server answered {status}", pause, limited=status == 429)
        if status in (401, 403):
            return ModelRefused("The model server does not accept the key; check model.api_key or model-api-key.")
        said = body[:300].decode("utf-8", "replace").strip()
        if question.has_format and status in _NOT_UNDERSTOOD:
            return _FormatRefusedError(said)
        return ModelRefused(f"The model server answered {status} to a request for {question.model}: {said}")


def _formats(schema: JsonObject | None) -> tuple[JsonObject, ...]:
    """From the strictest to none; the messages say in words what is wanted, for servers that ignore it."""
    if schema is None:
        return ({},)
    exactly: JsonObject = {"name": "answer", "schema": schema, "strict": True}
    return (
        {"response_format": {"type": "json_schema", "json_schema": exactly}},
        {"response_format": {"type": "json_object"}},
        {},
    )


async def _bounded_body(content: aiohttp.StreamReader) -> bytes:
    body = bytearray()
    async for chunk in content.iter_any():
        body += chunk
        if len(body) > _LARGEST_ANSWER_BYTES:
            raise ModelRefused(f"The model server's answer is larger than {_LARGEST_ANSWER_BYTES} bytes.")
    return bytes(body)


@asynccontextmanager
async def open_model_client(resources: Resources) -> AsyncGenerator[ModelClient]:
    settings = resources.get(Settings).model
    if settings.api_key is None:
        api_key = await resources.get(Sidecar).secret("model-api-key")
    else:
        api_key = settings.api_key.get_secret_value()
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None, sock_connect=10)) as session:
        yield ModelClient(session, settings, api_key=api_key.strip())
