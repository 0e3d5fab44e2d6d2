"""Answers that have to be something: one of some labels, or data that follows a schema.

Servers that can force a model to it are asked to; the others are asked in words, and what comes back is read with some
patience for fences and talk around it. An answer that cannot be used goes back to the model once, with the reason.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.invocations import TokenUsage
from crewmesh_kit.db.storable import read_clean

from crewmesh_agent_crew.models.calls import Message
from crewmesh_agent_crew.models.errors import ModelAnswerUnusable
from crewmesh_agent_crew.models.json_schemas import JsonSchemas

ReadT = TypeVar("ReadT")
ReadT_co = TypeVar("ReadT_co", covariant=True)
Ask = Callable[[Sequence[Message]], Awaitable[str]]

_FENCE = re.compile(r"```(?:json)?\s*\n(.*?)\n?```", re.S | re.I)
_OPENING = re.compile(r"[{\[]")
_AROUND_A_LABEL = " \t\r\n\"'`*.,:;!"


class UnusableError(Exception):
    """The answer is not what was asked for; the message tells the model why."""


class Wanted(Protocol[ReadT_co]):
    """What an answer has to be: as a schema, in words, and by reading it."""

    @property
    def schema(self) -> JsonObject: ...

    @property
    def instruction(self) -> str: ...

    async def read(self, text: str) -> ReadT_co: ...


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of the labels."""

    labels: tuple[str, ...]

    @property
    def schema(self) -> JsonObject:
        label: JsonObject = {"type": "string", "enum": [*self.labels]}
        return {"type": "object", "properties": {"label": label}, "required": ["label"], "additionalProperties": False}

    @property
    def instruction(self) -> str:
        return f'Answer with JSON and nothing else: {{"label": one of {json.dumps(self.labels, ensure_ascii=False)}}}'

    async def read(self, text: str) -> str:
        said = self._said(text)
        if said in self.labels:
            return said
        alike = {label for label in self.labels if _plain(label) == _plain(said)}
        if len(alike) != 1:
            raise UnusableError(f"it must be one of {json.dumps(self.labels, ensure_ascii=False)}")
        return alike.pop()

    def _said(self, text: str) -> str:
        """The label in the JSON; or the bare text, for models that cannot write JSON but can choose."""
        try:
            document = json_in(text)
        except UnusableError:
            return text
        said = document.get("label") if isinstance(document, dict) else document
        return said if isinstance(said, str) else text


@dataclass(frozen=True, slots=True)
class Following:
    """Data that follows a schema."""

    schema: JsonObject
    schemas: JsonSchemas

    @property
    def instruction(self) -> str:
        schema = json.dumps(self.schema, ensure_ascii=False)
        return f"Answer with JSON that follows this JSON Schema, and with nothing else:\n{schema}"

    async def read(self, text: str) -> JsonValue:
        data = json_in(text)
        reason = await self.schemas.why_not(self.schema, data)
        if reason is not None:
            raise UnusableError(f"it does not follow the schema: {reason}")
        return data


@dataclass(frozen=True, slots=True)
class Read(Generic[ReadT]):
    """An answer as it was said, and what it was read as."""

    text: str
    value: ReadT


async def settled(
    text: str, wanted: Wanted[ReadT], *, asked: Sequence[Message], ask: Ask, usage: Callable[[], TokenUsage]
) -> Read[ReadT]:
    """What ``text`` was read as, or the answer after it when the model is told what is wrong with this one."""
    try:
        return Read(text, await wanted.read(text))
    except UnusableError as reason:
        complaint = f"This answer cannot be used: {reason}. {wanted.instruction}"
    text = await ask([*asked, Message(role="assistant", content=text), Message(role="user", content=complaint)])
    try:
        return Read(text, await wanted.read(text))
    except UnusableError as reason:
        raise ModelAnswerUnusable(str(reason), text, usage()) from reason


def json_in(text: str) -> JsonValue:
    """The JSON that the text is, or that stands in it in a fence, or behind some talk."""
    fenced = _FENCE.search(text)
    for candidate in (text, fenced[1] if fenced else "", _from_the_first_bracket(text)):
        try:
            return read_clean(candidate)
        except ValueError:
            continue
    raise UnusableError("it must be JSON, whole and without anything around it")


def _from_the_first_bracket(text: str) -> str:
    start = _OPENING.search(text)
    if start is None:
        return ""
    try:
        _, end = json.JSONDecoder().raw_decode(text, start.start())
    except (ValueError, RecursionError):
        return ""
    return text[start.start() : end]


def _plain(label: str) -> str:
    return label.strip(_AROUND_A_LABEL).casefold()
