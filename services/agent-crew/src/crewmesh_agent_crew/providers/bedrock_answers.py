"""What Bedrock answers: one document, or frames of events."""

from __future__ import annotations

import json
from collections.abc import Mapping

from crewmesh_contracts.base import JsonValue, Reply
from pydantic import ValidationError

from crewmesh_agent_crew.models.calls import Finish, Tokens
from crewmesh_agent_crew.providers.draft import Draft
from crewmesh_agent_crew.providers.failures import Told, failure_told
from crewmesh_agent_crew.providers.frames import Frame
from crewmesh_agent_crew.providers.protocol import ProviderError

_FINISHES: Mapping[str, Finish] = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tools",
    "guardrail_intervened": "filtered",
    "content_filtered": "filtered",
}
_BROKEN = ("malformed_model_output", "malformed_tool_use")
# Errors inside a stream come by name, without a status.
_STATUS_OF_EXCEPTION = {
    "throttlingException": 429,
    "validationException": 400,
    "serviceUnavailableException": 503,
    "modelTimeoutException": 504,
}


class _ToolUse(Reply):
    toolUseId: str | None = None  # noqa: N815  as AWS writes it
    name: str | None = None
    input: JsonValue = None


class _Block(Reply):
    text: str = ""
    toolUse: _ToolUse | None = None  # noqa: N815


class _Message(Reply):
    content: tuple[_Block, ...]


class _Output(Reply):
    message: _Message


class _Usage(Reply):
    """What was cached is not counted in ``inputTokens``."""

    inputTokens: int = 0  # noqa: N815
    outputTokens: int = 0  # noqa: N815
    cacheReadInputTokens: int = 0  # noqa: N815
    cacheWriteInputTokens: int = 0  # noqa: N815


class _Whole(Reply):
    output: _Output
    stopReason: str = ""  # noqa: N815
    usage: _Usage = _Usage()


class _Event(Reply):
    """The members of all events; each has some of them."""

    contentBlockIndex: int = 0  # noqa: N815
    start: _Block | None = None
    delta: _Block | None = None
    stopReason: str | None = None  # noqa: N815
    usage: _Usage | None = None
    message: str = ""


def read_whole(body: bytes, draft: Draft) -> None:
    try:
        whole = _Whole.model_validate_json(body)
    except ValidationError as error:
        raise unreadable() from error
    for at, block in enumerate(whole.output.message.content):
        draft.say(block.text)
        if block.toolUse is not None:
            use = block.toolUse
            draft.call(at, id_=use.toolUseId, name=use.name, arguments=json.dumps(use.input))
    draft.tokens = _tokens(whole.usage)
    draft.finish = _finish(whole.stopReason)


class StreamReader:
    def __init__(self, draft: Draft) -> None:
        self._draft = draft

    def read(self, frame: Frame) -> None:
        if frame.headers.get(":message-type") == "error":
            raise failure_told(500, Told(message=frame.headers.get(":error-message", "")), tokens_paid=True)
        try:
            event = _Event.model_validate_json(frame.payload)
        except ValidationError as error:
            raise unreadable() from error
        exception = frame.headers.get(":exception-type")
        if exception is not None:
            status = _STATUS_OF_EXCEPTION.get(exception, 500)
            raise failure_told(status, Told(message=event.message), more=exception, tokens_paid=True)
        if event.start is not None and event.start.toolUse is not None:
            use = event.start.toolUse
            self._draft.call(event.contentBlockIndex, id_=use.toolUseId, name=use.name)
        if event.delta is not None:
            self._go_on(event.contentBlockIndex, event.delta)
        if event.stopReason is not None:
            self._draft.finish = _finish(event.stopReason)
        if event.usage is not None:
            self._draft.tokens = _tokens(event.usage)

    def _go_on(self, at: int, delta: _Block) -> None:
        self._draft.say(delta.text)
        if delta.toolUse is not None and isinstance(delta.toolUse.input, str):
            self._draft.call(at, arguments=delta.toolUse.input)


def unreadable() -> ProviderError:
    return ProviderError("unreadable", "what its server answers is no answer of Bedrock's", tokens_paid=True)


def _finish(reason: str) -> Finish:
    if reason in _BROKEN:
        raise ProviderError("cut", "its answer was malformed", tokens_paid=True)
    return _FINISHES.get(reason, "stop")


def _tokens(usage: _Usage) -> Tokens:
    cached, kept = usage.cacheReadInputTokens, usage.cacheWriteInputTokens
    return Tokens(input=usage.inputTokens + cached + kept, output=usage.outputTokens, cached=cached, written=kept)
