"""A model for crews that are broken into: it lets every part be sent by a tool once, and counts what it answered.

A task that reads ``Do part 2 of crew 7.`` gets two answers: one that uses the tool ``post``, and one that says that it
is done. Who asks for either a second time has paid twice; unless the first answer was lost with whoever asked for it.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field

from crewmesh_contracts.base import JsonObject

from crewmesh_testkit.model_fake import Says, ToolUse
from crewmesh_testkit.openai_fake import ChatRequest, OpenAiFake

CALLS_OF_A_PART = 2
_PART = re.compile(r"Do part (\d+) of crew ([\w-]+)\.")


@dataclass
class CountedModel(OpenAiFake):
    """``answered``: when each call was answered, by its part and crew."""

    answered: dict[str, list[float]] = field(default_factory=dict[str, list[float]])

    def next_answer(self, asked: ChatRequest) -> str | Says:
        part, crew = _PART.findall(asked.prompt)[-1]
        used = any(message.role == "tool" for message in asked.messages)
        call = f"crew {crew}, part {part}, call {2 if used else 1}"
        self.answered.setdefault(call, []).append(time.monotonic())
        if used:
            return f"Part {part} of crew {crew} is sent."
        arguments: JsonObject = {"method": "POST", "path": f"{crew}/{part}", "body": {"crew": crew, "part": part}}
        return Says(tools=(ToolUse("post", arguments),))


def crew_of_parts(name: str, parts: int, url: str) -> JsonObject:
    """A crew whose agent does one part after another, and sends each to ``url`` with its tool."""
    tool: JsonObject = {"kind": "http", "name": "post", "url": url, "methods": ["POST"], "approval": "never"}
    return {
        "name": name,
        "agents": [{"name": "sender", "role": "A sender", "goal": "send it", "tools": [tool]}],
        "tasks": [
            {
                "name": f"part-{part}",
                "agent": "sender",
                "description": f"Do part {part} of crew {{crew}}.",
                "expected_output": "What came of it.",
            }
            for part in range(1, parts + 1)
        ],
        "inputs": [{"name": "crew"}],
    }
