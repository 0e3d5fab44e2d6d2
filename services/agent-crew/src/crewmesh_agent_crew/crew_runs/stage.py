"""Where a crew plays: what a process may do, which is to give agents their turns.

A process is a plain async function that decides from what was said alone: no clock, no chance, no I/O of its own. After
a crash it is played again from the start, and every turn that was over is answered from the journal.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from crewmesh_contracts.base import Contract, JsonObject, JsonValue

from crewmesh_agent_crew.agents.models import AgentDefinition
from crewmesh_agent_crew.crews.models import CrewDefinition
from crewmesh_agent_crew.models.calls import Image, Message
from crewmesh_agent_crew.tools.toolbox import LocalTool, Source


@dataclass(frozen=True, slots=True)
class Said:
    """One turn's outcome. ``data``: when it had to follow a schema."""

    agent: str
    task: str
    text: str
    data: JsonValue = None


class Document(Contract):
    """A file that the agent is given to read: words of whoever wrote it."""

    name: str
    text: str


class Recollection(Contract):
    """What an agent is reminded of. ``source``: whose words it is shown as."""

    text: str
    source: Source


@dataclass(frozen=True, slots=True)
class Turn:
    """What one agent is asked to do. ``shown``: what others said, which it may need. ``to``: whom it speaks to.

    ``quotes``: stretches of the instruction that others wrote than whoever asks, from where to where, in order.
    ``history``: what a person and the agent said to each other before.
    ``or_text``: an answer that does not follow the schema is good as text, without data.
    """

    agent: AgentDefinition
    task: str
    instruction: str
    quotes: Sequence[tuple[int, int]] = ()
    expected: str = ""
    shown: Sequence[Said] = ()
    to: str | None = None
    output_schema: JsonObject | None = None
    images: Sequence[Image] = ()
    helpers: Sequence[LocalTool] = ()
    or_text: bool = False
    remembered: Sequence[Recollection] = ()
    history: Sequence[Message] = ()
    documents: Sequence[Document] = ()


class Stage(Protocol):
    """``crew``: with its agents resolved. ``inputs``: a value for every declared input. ``quoted``: those of them that
    others wrote than whoever asks.
    """

    @property
    def crew(self) -> CrewDefinition: ...

    @property
    def inputs(self) -> Mapping[str, str]: ...

    @property
    def quoted(self) -> Collection[str]: ...

    async def turn(self, turn: Turn) -> Said:
        """Once: the same turn of the same process is the same after every crash.

        Turns are told apart by their agent and task and by how many of those there were before; so a process may give
        several at the same time, when their agents or tasks differ.
        """
        ...

    def agent(self, name: str) -> AgentDefinition: ...
