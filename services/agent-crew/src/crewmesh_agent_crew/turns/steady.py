"""Replies of models in the one form that they also have when they are read back from the ledger.

PostgreSQL keeps JSON by its meaning: members in an order of its own, numbers by their value. A turn that is played
again from there has to ask the same to the byte, or it would pay for the answer once more.
"""

from __future__ import annotations

from decimal import Decimal

from crewmesh_contracts.base import JsonObject, JsonValue

from crewmesh_agent_crew.models.calls import ModelReply


def steady(reply: ModelReply) -> ModelReply:
    if not reply.tool_calls:
        return reply
    calls = tuple(call.model_copy(update={"arguments": _members(call.arguments)}) for call in reply.tool_calls)
    return reply.model_copy(update={"tool_calls": calls})


def _members(value: JsonObject) -> JsonObject:
    return {name: _steady(value[name]) for name in sorted(value)}


def _steady(value: JsonValue) -> JsonValue:
    match value:
        case dict():
            return _members(value)
        case list():
            return [_steady(item) for item in value]
        case float() if value.is_integer():
            return int(Decimal(repr(value)))  # as it is written: beyond 2**53 the value itself has other digits
        case _:
            return value
