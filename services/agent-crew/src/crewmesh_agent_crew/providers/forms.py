"""What the protocols' requests have in common: asking again in an easier form, and conversations with tools in them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence

from crewmesh_contracts.base import JsonObject, JsonValue

from crewmesh_agent_crew.models.calls import Message, ModelReply
from crewmesh_agent_crew.providers.draft import written
from crewmesh_agent_crew.providers.protocol import ProviderError

_ID = re.compile(r"[A-Za-z0-9_-]{1,40}")


async def sent_in_some_form(
    body: JsonObject,
    send: Callable[[JsonObject], Awaitable[ModelReply]],
    easier: Callable[[JsonObject, ProviderError], JsonObject | None],
) -> ModelReply:
    """The answer to the body, or to what ``easier`` made of it after each refusal until it knows nothing more."""
    while True:
        try:
            return await send(body)
        except ProviderError as refusal:
            simpler = easier(body, refusal) if may_be_the_form(refusal) else None
            if simpler is None:
                raise
            body = simpler


def may_be_the_form(refusal: ProviderError) -> bool:
    """Whether the same question in another form may be taken. What was refused was neither done nor charged."""
    return refusal.kind == "refused" and refusal.status in (400, 422)


def without_format(
    body: JsonObject, refusal: ProviderError, *, temperature: Sequence[str], formats: Sequence[Sequence[str]]
) -> JsonObject | None:
    """The body without its temperature, if that is named as the reason; or else without the format it asks for."""
    rest = _without(body, temperature) if names(refusal, "temperature") else None
    if rest is not None:
        return rest
    for path in formats:
        rest = _without(body if rest is None else rest, path) or rest
    return rest


def names(refusal: ProviderError, parameter: str) -> bool:
    return refusal.parameter == parameter or (refusal.parameter is None and parameter in refusal.detail)


def _without(body: JsonObject, path: Sequence[str]) -> JsonObject | None:
    """A copy without what stands at the path; nothing when nothing stands there."""
    first, *rest = path
    if first not in body:
        return None
    inner = body[first]
    kept = {name: value for name, value in body.items() if name != first}
    if not rest:
        return kept
    shorter = _without(inner, rest) if isinstance(inner, dict) else None
    return None if shorter is None else {**kept, first: shorter}


def tool_id(id_: str, taken: re.Pattern[str] = _ID, *, longest: int = 32) -> str:
    """The id of a tool call as this provider takes it: a conversation may have begun at another."""
    return id_ if taken.fullmatch(id_) else hashlib.sha256(id_.encode()).hexdigest()[:longest]


def tool_names(messages: Sequence[Message]) -> dict[str, str]:
    """By the id of each tool call: the tool's name, for protocols that want it beside the result."""
    return {call.id: call.name for message in messages for call in message.tool_calls}


def told_without_tools(messages: Sequence[Message]) -> list[Message]:
    """The conversation with the use of tools told in words, for servers that want no trace of it without tools."""
    called = tool_names(messages)
    told: list[Message] = []
    for message in messages:
        if message.role == "tool":
            result = f"Result of {called.get(message.answers or '', 'a tool')}:\n{message.content}"
            told.append(Message(role="user", content=result))
        elif message.tool_calls:
            used = [f"I use {call.name} with {written(call)}." for call in message.tool_calls]
            told.append(Message(role="assistant", content="\n".join([message.content, *used]).strip()))
        else:
            told.append(message)
    return told


def system_of(messages: Sequence[Message]) -> str:
    """All that the system says, for protocols that keep it beside the conversation."""
    return "\n\n".join(message.content for message in messages if message.role == "system" and message.content)


def together(
    messages: Sequence[Message], parts_of: Callable[[Message], Sequence[JsonValue]]
) -> list[tuple[str, list[JsonValue]]]:
    """The conversation as two sides speak in turns, each in one message of parts; what tools say, the user says."""
    turns: list[tuple[str, list[JsonValue]]] = []
    for message in messages:
        if message.role == "system":
            continue
        role = "assistant" if message.role == "assistant" else "user"
        if not turns or turns[-1][0] != role:
            turns.append((role, []))
        turns[-1][1].extend(parts_of(message))
    return turns
