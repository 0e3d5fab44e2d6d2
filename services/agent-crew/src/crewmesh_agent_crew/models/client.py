"""One model behind an OpenAI-compatible URL: asked with patience, counted, measured, bounded in time and size.

Busy (429) and failing (5xx, no connection, an empty answer) are tried again with growing pauses, as Retry-After says
where it is given. Any other refusal is final: asking again would only cost again.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict

import aiohttp
from crewmesh_contracts.base import JsonObject
from crewmesh_kit.app import Resources
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.logs import get_logger
from crewmesh_kit.telemetry import span
from pydantic import ValidationError

from crewmesh_agent_crew.models.errors import ModelRefused, ModelTimeout, ModelUnavailable
from crewmesh_agent_crew.models.metrics import MODEL_ATTEMPTS, MODEL_SECONDS, MODEL_TOKENS
from crewmesh_agent_crew.models.schemas import ChatMessage, Completion, Usage
from crewmesh_agent_crew.settings import ModelSettings, Settings

_LARGEST_ANSWER_BYTES = 2 * 1024 * 1024
_LONGEST_PAUSE_SECONDS = 20.0
_TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})

log = get_logger(__name__)


class _BusyError(Exception):
    """Worth another attempt, after ``pause`` seconds if the server named them."""

    def __init__(self, reason: str, pause: float | None = None) -> None:
        super().__init__(reason)
        self.pause = pause


class ModelClient:
    def __init__(self, session: aiohttp.ClientSession, settings: ModelSettings, *, api_key: str = "") -> None:
        self._session = session
        self._settings = settings
        self._url = f"{settings.url.rstrip('/')}/chat/completions"
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}

    @property
    def model(self) -> str:
        return self._settings.name

    async def ask(self, messages: Sequence[ChatMessage], usage: Usage) -> str:
        """The model's answer, never empty. What it cost is added to ``usage``, also for attempts that led nowhere."""
        started = time.monotonic()
        outcome = "error"
        try:
            with span(f"chat {self.model}", **{"gen_ai.operation.name": "chat", "gen_ai.request.model": self.model}):
                async with asyncio.timeout(self._settings.timeout_seconds):
                    answer = await self._ask_patiently(messages, usage)
            outcome = "ok"
            return answer
        except TimeoutError as error:
            outcome = "timeout"
            raise ModelTimeout(
                f"The model {self.model} did not answer within {self._settings.timeout_seconds:g} s; try again later."
            ) from error
        finally:
            MODEL_SECONDS.labels(self.model, outcome).observe(time.monotonic() - started)

    async def _ask_patiently(self, messages: Sequence[ChatMessage], usage: Usage) -> str:
        reason = ""
        for attempt in range(self._settings.attempts):
            try:
                return await self._ask_once(messages, usage)
            except _BusyError as busy:
                reason, pause = str(busy), busy.pause
            log.warning("model call failed", model=self.model, attempt=attempt + 1, reason=reason)
            if attempt + 1 < self._settings.attempts:
                await asyncio.sleep(self._pause(attempt) if pause is None else min(pause, _LONGEST_PAUSE_SECONDS))
        raise ModelUnavailable(
            f"The model {self.model} failed {self._settings.attempts} times, last because {reason}; try again later.",
            headers={"Retry-After": "5"},
        )

    def _pause(self, attempt: int) -> float:
        longest = min(self._settings.backoff_seconds * 2**attempt, _LONGEST_PAUSE_SECONDS)
        return longest * random.uniform(0.5, 1.0)

    async def _ask_once(self, messages: Sequence[ChatMessage], usage: Usage) -> str:
        try:
            # Redirects are not followed: the key would travel to wherever they point.
            async with self._session.post(
                self._url, json=self._request(messages), headers=self._headers, allow_redirects=False
            ) as answer:
                body = await _bounded_body(answer.content)
        except aiohttp.ClientError as error:
            MODEL_ATTEMPTS.labels(self.model, "unreachable").inc()
            raise _BusyError(f"its server cannot be reached ({type(error).__name__})") from error
        MODEL_ATTEMPTS.labels(self.model, str(answer.status)).inc()
        if answer.status != 200:
            raise self._failure(answer.status, answer.headers.get("Retry-After", ""), body)
        return self._read(body, usage)

    def _request(self, messages: Sequence[ChatMessage]) -> JsonObject:
        return {
            "model": self.model,
            "messages": [asdict(message) for message in messages],
            "temperature": self._settings.temperature,
            self._settings.token_limit_parameter: self._settings.max_tokens,
        }

    def _read(self, body: bytes, usage: Usage) -> str:
        try:
            completion = Completion.model_validate_json(body)
        except ValidationError as error:
            raise ModelRefused(
                f"What {self._settings.url} answers is no chat completion; is it an OpenAI-compatible URL?"
            ) from error
        usage.requests += 1
        usage.prompt_tokens += completion.tokens.prompt_tokens
        usage.completion_tokens += completion.tokens.completion_tokens
        MODEL_TOKENS.labels(self.model, "prompt").inc(completion.tokens.prompt_tokens)
        MODEL_TOKENS.labels(self.model, "completion").inc(completion.tokens.completion_tokens)
        if not completion.text:
            raise _BusyError("its answer was empty")
        return completion.text

    def _failure(self, status: int, retry_after: str, body: bytes) -> Exception:
        if status in _TRANSIENT:
            return _BusyError(f"its server answered {status}", float(retry_after) if retry_after.isdigit() else None)
        if status in (401, 403):
            return ModelRefused("The model server does not accept the key; check model.api_key or model-api-key.")
        said = body[:300].decode("utf-8", "replace").strip()
        return ModelRefused(f"The model server answered {status} to a request for {self.model}: {said}")


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
