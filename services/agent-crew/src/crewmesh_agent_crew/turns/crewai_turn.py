"""A turn played by CrewAI: its agent, its task, its prompts, over a language model that is our desk.

The only module that imports CrewAI; ``crewai_environment`` loads it. Everything made here serves one turn and takes
under two milliseconds. CrewAI's own executor is a flow of small steps, and its flow engine would give every turn an
event loop of its own and every step a hop to another thread: eight times the computing, and two threads that wait with
the model. So the executor's steps are taken here one after the other, on the event loop: think, use the tools that the
model wants, think again. Nothing that CrewAI does on this path reads a file, asks the network or waits.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, NoReturn, Protocol, cast

from crewai import Agent, Task
from crewai.agents.agent_builder.base_agent import BaseAgent
from crewai.agents.agent_executor import AgentExecutor
from crewai.agents.parser import AgentFinish
from crewai.events.event_bus import crewai_event_bus
from crewai.llms.base_llm import BaseLLM, llm_call_context
from crewai.tools import BaseTool
from crewai.utilities.agent_utils import aget_llm_response
from crewai.utilities.prompts import Prompts
from crewai.utilities.types import LLMMessage
from crewai_core.printer import PRINTER
from crewmesh_contracts.base import JsonObject, JsonValue
from pydantic import BaseModel, PrivateAttr
from pydantic_core import from_json

from crewmesh_agent_crew.agents.models import AgentDefinition
from crewmesh_agent_crew.models.calls import Image, Message, ToolCall
from crewmesh_agent_crew.turns.desk import Desk
from crewmesh_agent_crew.turns.instructions import Instruction
from crewmesh_agent_crew.turns.verbatim import hide, reveal

# CrewAI's listeners draw on a console that nobody sees and collect traces that nobody is sent.
_no_listeners = ExitStack()
_no_listeners.enter_context(crewai_event_bus.scoped_handlers())

# CrewAI takes an empty answer for a failure.
_NOTHING = "(nothing)"


class Play(Protocol):
    async def __call__(self, agent: AgentDefinition, instruction: Instruction, desk: Desk) -> None: ...


class PlatformLLM(BaseLLM):
    """Asks the desk. It answers with text, or with the uses of tools that the model wants."""

    _desk: Desk = PrivateAttr()
    _images: tuple[Image, ...] = PrivateAttr()

    @classmethod
    def over(cls, desk: Desk, model: str, images: Sequence[Image]) -> PlatformLLM:
        llm = cls(model=model)
        llm._desk = desk
        llm._images = tuple(images)
        return llm

    def supports_function_calling(self) -> bool:
        return self._desk.has_tools

    async def acall(
        self,
        messages: str | list[LLMMessage],
        tools: list[dict[str, BaseTool]] | None = None,
        callbacks: list[Any] | None = None,
        available_functions: dict[str, Any] | None = None,
        from_task: Task | None = None,
        from_agent: BaseAgent | None = None,
        response_model: type[BaseModel] | None = None,
    ) -> str | list[ToolCall]:
        with llm_call_context():
            reply = await self._desk.ask(self._asked(self._format_messages(messages)))
        return list(reply.tool_calls) or reply.text or _NOTHING

    def call(self, messages: str | list[LLMMessage], *_: object, **__: object) -> NoReturn:
        raise TypeError("On the event loop a model is asked with acall.")

    def _asked(self, messages: list[LLMMessage]) -> tuple[Message, ...]:
        asked = [_message(message) for message in messages]
        if self._images:
            place = next(number for number, message in enumerate(asked) if message.role == "user")
            asked[place] = asked[place].model_copy(update={"images": self._images})
        return tuple(asked)


class TurnExecutor(AgentExecutor):
    """Takes CrewAI's steps without its flow engine."""

    _desk: Desk = PrivateAttr()

    @classmethod
    def over(cls, desk: Desk, **fields: Any) -> TurnExecutor:
        executor = cls(**fields)
        executor._desk = desk
        return executor

    def _flow_post_init(self, definition: object = None) -> None:
        """Nothing of the engine is set up: it takes more computing than everything else in a turn."""

    def _setup_messages(self, inputs: dict[str, Any]) -> None:
        super()._setup_messages(inputs)
        for message in self.state.messages:
            message["content"] = reveal(str(message["content"]))

    async def ainvoke(self, inputs: dict[str, Any]) -> dict[str, Any]:
        self._setup_messages(inputs)
        answer = await self._thought()
        while not isinstance(answer, str):
            await self._use(answer)
            answer = await self._thought()
        self.state.current_answer = AgentFinish(thought="", output=answer, text=answer)
        self.state.is_finished = True
        return {"output": answer}

    async def _thought(self) -> str | list[ToolCall]:
        answer = await aget_llm_response(
            llm=cast(BaseLLM, self.llm),
            messages=self.state.messages,
            callbacks=[],
            printer=PRINTER,
            from_task=self.task,
            from_agent=self.agent,
            executor_context=self,
            verbose=False,
        )
        return cast("str | list[ToolCall]", answer)

    async def _use(self, calls: Sequence[ToolCall]) -> None:
        """One after the other: what an agent may do depends on what it saw before, and has to be the same each time."""
        reported = [_reported(call) for call in calls]
        self.state.messages.append({"role": "assistant", "content": self._desk.reply.text, "tool_calls": reported})
        for call in calls:
            given = await self._desk.use(call)
            self.state.messages.append({"role": "tool", "tool_call_id": call.id, "name": call.name, "content": given})


class TurnAgent(Agent):
    _desk: Desk = PrivateAttr()

    @classmethod
    def over(cls, desk: Desk, **fields: Any) -> TurnAgent:
        agent = cls(**fields)
        agent._desk = desk
        return agent

    def create_agent_executor(self, tools: list[BaseTool] | None = None, task: Task | None = None) -> None:
        """Its tools are the desk's: their arguments are checked there, and CrewAI need not know them."""
        native = self._desk.has_tools
        prompt = Prompts(agent=self, has_tools=native, use_native_tool_calling=native, use_system_prompt=True)
        self.agent_executor = TurnExecutor.over(
            self._desk, llm=self.llm, task=task, agent=self, prompt=prompt.task_execution()
        )

    def _use_trained_data(self, task_prompt: str) -> str:
        """Nothing was trained; CrewAI would look for a file in the working folder, and unpickle it."""
        return task_prompt


class TurnTask(Task):
    def prompt(self) -> str:
        """As it was written, without CrewAI's own exhortations: small models obey those instead of the task."""
        return f"{self.description}\n\n{self.expected_output}"


async def play(agent: AgentDefinition, instruction: Instruction, desk: Desk) -> None:
    """Leaves the answer on the desk: ``desk.reply``."""
    actor = TurnAgent.over(
        desk,
        role=hide(agent.role),
        goal=hide(agent.goal),
        backstory=hide(agent.backstory),
        llm=PlatformLLM.over(desk, agent.model, instruction.images),
        tools=[],
        allow_delegation=False,
        # The router has tried often enough, and knows best when trying again may help.
        max_retry_limit=0,
        respect_context_window=False,
    )
    task = TurnTask(description=hide(instruction.task), expected_output=hide(instruction.expected), agent=actor)
    context = None if instruction.context is None else hide(instruction.context)
    await actor.aexecute_task(task, context)


def _message(message: LLMMessage) -> Message:
    said = cast(JsonObject, message)
    return Message(
        role=message["role"],
        content=str(said["content"] or ""),
        tool_calls=tuple(_called(call) for call in cast("list[JsonObject]", said.get("tool_calls", []))),
        answers=cast("str | None", said.get("tool_call_id")),
    )


def _reported(call: ToolCall) -> JsonObject:
    written = json.dumps(call.arguments, ensure_ascii=False) if call.broken is None else call.broken
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": written}}


def _called(reported: JsonObject) -> ToolCall:
    """Back from ``_reported``. What is no JSON object was broken before."""
    function = cast("dict[str, str]", reported["function"])
    identity, name, written = cast(str, reported["id"]), function["name"], function["arguments"]
    try:
        arguments = cast(JsonValue, from_json(written))
    except ValueError:
        arguments = None
    if isinstance(arguments, dict):
        return ToolCall(id=identity, name=name, arguments=arguments)
    return ToolCall(id=identity, name=name, broken=written)
