"""What an agent is told, in words: its task, what others said, and the form of the answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from crewmesh_agent_crew.crew_runs.stage import Turn
from crewmesh_agent_crew.models.calls import Image, Message
from crewmesh_agent_crew.tools.toolbox import Toolbox

_ANSWER_NOW = "No tools can be used any more. Give your final answer now, from what is known."


@dataclass(frozen=True, slots=True)
class Instruction:
    """``context``: what is remembered and what others said, told as such."""

    task: str
    expected: str = ""
    context: str | None = None
    images: tuple[Image, ...] = ()


def instruction_of(turn: Turn, toolbox: Toolbox, form: str) -> Instruction:
    """Everything as the agent may read it. ``form``: how data has to look, where data is wanted."""
    # The name of a file is its giver's word, too.
    heard = [toolbox.shown(f"The file {each.name}:\n{each.text}", "document") for each in turn.documents]
    heard += [f"You remember from before:\n{toolbox.shown(each.text, each.source)}" for each in turn.remembered]
    heard += [f"{said.agent} said on {said.task}:\n{toolbox.shown(said.text, 'agent')}" for said in turn.shown]
    return Instruction(
        task=_asked(turn, toolbox),
        expected="\n\n".join(part for part in (toolbox.shown(turn.expected, "person"), form) if part),
        context="\n\n".join(heard) if heard else None,
        images=tuple(turn.images),
    )


def _asked(turn: Turn, toolbox: Toolbox) -> str:
    """The instruction, with what others have written into it shown as theirs."""
    parts: list[str] = []
    end = 0
    for start, stop in turn.quotes:
        parts.append(toolbox.shown(turn.instruction[end:start], "person"))
        parts.append(f"\n{toolbox.shown(turn.instruction[start:stop], 'input')}\n")
        end = stop
    return "".join([*parts, toolbox.shown(turn.instruction[end:], "person")])


def history_of(turn: Turn, toolbox: Toolbox) -> tuple[Message, ...]:
    """What was said before, as the agent may read it."""
    return tuple(
        message.model_copy(update={"content": toolbox.shown(message.content, "person")}) for message in turn.history
    )


def with_history(messages: tuple[Message, ...], history: tuple[Message, ...]) -> tuple[Message, ...]:
    """Between what the agent is and what it is asked now; once."""
    start = next((number for number, message in enumerate(messages) if message.role != "system"), len(messages))
    if messages[start : start + len(history)] == history:
        return messages
    return (*messages[:start], *history, *messages[start:])


def without_tools(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The conversation as plain talk: some servers refuse one in which tools were used when none are offered."""
    plain: list[Message] = []
    for message in messages:
        talk = _as_talk(message)
        if message.role == "tool" and plain and plain[-1].role == "user":
            plain[-1] = plain[-1].model_copy(update={"content": f"{plain[-1].content}\n\n{talk.content}"})
        else:
            plain.append(talk)
    if plain and plain[-1].role == "user" and any(message.role == "tool" for message in messages):
        plain[-1] = plain[-1].model_copy(update={"content": f"{plain[-1].content}\n\n{_ANSWER_NOW}"})
    return tuple(plain)


def _as_talk(message: Message) -> Message:
    if message.role == "tool":
        return Message(role="user", content=f"The tool gave:\n{message.content}")
    if message.tool_calls:
        uses = [f"I use {call.name}: {json.dumps(call.arguments, ensure_ascii=False)}" for call in message.tool_calls]
        return Message(role=message.role, content="\n".join([message.content, *uses]).strip())
    return message
