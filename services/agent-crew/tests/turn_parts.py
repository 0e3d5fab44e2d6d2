"""Ports of a turn without anything behind them: a model that is a function, and a toolbox that takes notes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from crewmesh_agent_crew.models.calls import Message, ModelCall, ModelReply, Tokens, ToolCall, ToolSpec
from crewmesh_agent_crew.tools.toolbox import Source
from crewmesh_agent_crew.turns.runner import Ports
from crewmesh_contracts.base import JsonObject

Thought = Callable[[ModelCall], ModelReply]
ANY_OBJECT: JsonObject = {"type": "object"}


def answers(*texts: str) -> Thought:
    """One after the other."""
    left = iter(texts)
    return lambda _: ModelReply(text=next(left), tokens=Tokens(input=10, output=5))


def uses(name: str, arguments: JsonObject, *, text: str = "") -> ModelReply:
    call = ToolCall(id="call_1", name=name, arguments=arguments)
    return ModelReply(text=text, tool_calls=(call,), finish="tools", tokens=Tokens(input=10, output=5))


@dataclass
class Toolbox:
    """``used``: name, arguments and key of each use."""

    names: Sequence[str] = ()
    fails: Exception | None = None
    used: list[tuple[str, JsonObject, str]] = field(default_factory=list[tuple[str, JsonObject, str]])
    hidden: str = "secret"

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        return tuple(ToolSpec(name=name, description=f"Does {name}.", parameters=ANY_OBJECT) for name in self.names)

    async def use(self, name: str, arguments: JsonObject, *, key: str) -> str:
        self.used.append((name, arguments, key))
        if self.fails is not None:
            raise self.fails
        return f"{name} gave {arguments}"

    def shown(self, text: str, source: Source) -> str:
        return text.replace(self.hidden, f"[hidden from {source}]")

    async def said(self, text: str) -> str:
        return text.replace(self.hidden, "[hidden]")


@dataclass
class Model:
    """Its thought may be exchanged; ``calls`` are those it was asked."""

    think: Thought
    calls: list[ModelCall] = field(default_factory=list[ModelCall])

    async def ask(self, call: ModelCall) -> ModelReply:
        self.calls.append(call)
        return self.think(call)

    def with_(self, toolbox: Toolbox | None = None) -> Ports:
        return Ports(self.ask, toolbox or Toolbox())

    @property
    def last(self) -> tuple[Message, ...]:
        return self.calls[-1].messages

    @property
    def prompt(self) -> str:
        """Everything that was shown with the last call."""
        return "\n".join(message.content for message in self.last)
