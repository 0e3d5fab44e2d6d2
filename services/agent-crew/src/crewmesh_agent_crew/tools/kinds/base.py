"""What every kind of tool does: describe itself to the model, judge what it is given, ask the far side."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Generic, Literal, TypeAlias, TypeVar

import jsonschema_rs
from crewmesh_contracts.base import Contract, JsonObject, JsonValue, Reply
from crewmesh_contracts.invocations import Invocation
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.errors import Problem
from crewmesh_kit.identity import Identity

from crewmesh_agent_crew.models.calls import ToolSpec
from crewmesh_agent_crew.tools.grants import Grant
from crewmesh_agent_crew.tools.patience import patiently

RequestT = TypeVar("RequestT", bound=Contract)
ResultT = TypeVar("ResultT", bound=Reply)
GrantT = TypeVar("GrantT", bound=Grant)
ToolKind: TypeAlias = Literal["http", "knowledge", "code", "action", "mcp"]
# What is wrong with a value by a schema that strangers wrote; none when it follows it.
WhyNot: TypeAlias = Callable[[JsonObject, JsonValue], Awaitable[str | None]]

_LONGEST_REASON = 500


@dataclass(frozen=True, slots=True)
class Caller:
    """Asks other services in the run's name, again when they are away for a moment."""

    sidecar: Sidecar
    identity: Identity

    async def call(
        self, invocation: Invocation[RequestT, ResultT], request: RequestT, *, key: str | None, seconds: float
    ) -> ResultT:
        return await patiently(
            lambda: self.sidecar.call(invocation, request, identity=self.identity, idempotency_key=key, timeout=seconds)
        )


@dataclass(frozen=True, slots=True)
class Gave:
    """What a tool gave: words that are not ours. ``ok``: whether it did what it was used for."""

    text: str
    ok: bool = True


@dataclass(frozen=True)
class Granted(ABC, Generic[GrantT]):
    """A grant, ready to be used.

    ``is_private``: what such tools give is private data, where the grant does not say. ``untrusted``: it may be the
    words of strangers. ``may_reach_out``: some uses reach out into the world. ``described_by_strangers``: what the
    model is told of the tool is so, too.
    """

    grant: GrantT

    kind: ClassVar[ToolKind]
    is_private: ClassVar[bool] = True
    untrusted: ClassVar[bool] = True
    may_reach_out: ClassVar[bool] = True
    described_by_strangers: ClassVar[bool] = False

    @property
    def private(self) -> bool:
        return self.is_private if self.grant.private is None else self.grant.private

    @cached_property
    def spec(self) -> ToolSpec:
        description = " ".join(filter(None, (self.grant.description.strip(), self.describe())))
        return ToolSpec(name=self.grant.name, description=description, parameters=self.parameters())

    @abstractmethod
    def describe(self) -> str:
        """What it does, for the model."""

    @abstractmethod
    def parameters(self) -> JsonObject:
        """A JSON Schema of what the model fills in."""

    @abstractmethod
    async def run(self, caller: Caller, arguments: JsonObject, key: str) -> Gave:
        """Once per key. Raises a Problem when it did not work."""

    def reaches_out(self, arguments: JsonObject) -> bool:
        """This use does: it changes something out there, or tells somebody there what the agent knows."""
        return self.may_reach_out

    async def why_not(self, arguments: JsonObject, by_schema: WhyNot) -> str | None:
        """What is wrong with the arguments, in a sentence for the model."""
        return self._own_mistake(arguments)

    def _own_mistake(self, arguments: JsonObject) -> str | None:
        """By a schema of ours, which is quick to check."""
        error = next(self._validator.iter_errors(arguments), None)
        if error is None:
            return None
        place = ".".join(str(part) for part in error.instance_path)
        return f"{place or 'arguments'}: {error.message}"[:_LONGEST_REASON]

    @cached_property
    def _validator(self) -> jsonschema_rs.Validator:
        return jsonschema_rs.validator_for(self.spec.parameters, pattern_options=jsonschema_rs.RegexOptions())


def object_schema(properties: JsonObject, required: list[str]) -> JsonObject:
    wanted: list[JsonValue] = [*required]
    return {"type": "object", "properties": properties, "required": wanted, "additionalProperties": False}


async def by_strangers_schema(schema: JsonObject, arguments: JsonObject, by_schema: WhyNot) -> str | None:
    try:
        return await by_schema(schema, arguments)
    except Problem:
        # The schema is none, or checking with it takes too long: what it would have said nobody knows.
        return "the tool's own description of its parameters cannot be used, and so it cannot be used itself"
