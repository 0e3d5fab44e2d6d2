"""The tools of one agent in one piece of work, as whoever drives the agent sees them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from crewmesh_contracts.base import Contract, JsonObject

from crewmesh_agent_crew.models.calls import ToolSpec

# memory: an agent's own notes of earlier work; hearsay: those of work in which it read words of strangers. input: what
# others than whoever asks have written into what is asked.
Source: TypeAlias = Literal["person", "agent", "document", "tool", "memory", "hearsay", "input"]


class Question(Contract):
    """Something that people have to decide before the work goes on. ``id`` is the same after every crash."""

    id: str
    kind: Literal["tool", "budget"]
    title: str
    agent: str
    tool: str | None = None
    arguments: JsonObject | None = None


class NeedsDecisionError(Exception):
    """The work cannot go on before this is decided; then it is done again, and finds the decision."""

    def __init__(self, question: Question) -> None:
        super().__init__(question.title)
        self.question = question


class Toolbox(Protocol):
    """Also the guard of the agent's turn: it knows what the agent has seen."""

    @property
    def specs(self) -> tuple[ToolSpec, ...]: ...

    async def use(self, name: str, arguments: JsonObject, *, key: str) -> str:
        """What the tool gave, as the model is shown it: bounded, and marked as untrusted. Once per key.

        What the model did wrong (an unknown tool, arguments that do not fit) and what went wrong (a site that is down)
        is told to the model in the answer. Raises NeedsDecisionError, and Problems that end the work.
        """
        ...

    def shown(self, text: str, source: Source) -> str:
        """``text`` as the model may read it: screened and masked as the agent's guardrails say."""
        ...

    async def said(self, text: str) -> str:
        """The agent's final word as others may read it. Raises GuardrailTripped when it must not be said."""
        ...


@dataclass(frozen=True, slots=True)
class LocalTool:
    """A tool that whoever drives the agent brings along: asking a coworker, say. Not subject to grants."""

    spec: ToolSpec
    use: Callable[[JsonObject], Awaitable[str]]
