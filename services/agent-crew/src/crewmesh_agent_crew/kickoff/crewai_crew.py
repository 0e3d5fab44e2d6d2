"""A crew's definition as CrewAI agents and tasks, and a language model for them that is our conversation.

The only module that imports CrewAI; ``crewai_environment`` loads it. Everything made here serves one kickoff.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from crewai import Agent, Crew, CrewOutput, Process, Task
from crewai.agents.agent_builder.base_agent import BaseAgent
from crewai.events.types.llm_events import LLMCallType
from crewai.llms.base_llm import BaseLLM, llm_call_context
from crewai.utilities.types import LLMMessage
from crewmesh_contracts.invocations import CrewMessage
from pydantic import BaseModel, PrivateAttr

from crewmesh_agent_crew.crews.models import CrewDefinition
from crewmesh_agent_crew.kickoff.conversation import Conversation
from crewmesh_agent_crew.kickoff.verbatim import hide, reveal
from crewmesh_agent_crew.models.schemas import ChatMessage

# What makes CrewAI take an answer as it stands, instead of looking for the use of a tool in it.
_FINAL = "Final Answer: "


class ConversationLLM(BaseLLM):
    """Reveals what CrewAI was shown hidden, asks, and hides the answer."""

    _conversation: Conversation = PrivateAttr()

    @classmethod
    def over(cls, conversation: Conversation) -> ConversationLLM:
        llm = cls(model=conversation.model)
        llm._conversation = conversation
        return llm

    def call(
        self,
        messages: str | list[LLMMessage],
        tools: list[dict[str, Any]] | None = None,
        callbacks: list[Any] | None = None,
        available_functions: dict[str, Any] | None = None,
        from_task: Task | None = None,
        from_agent: BaseAgent | None = None,
        response_model: type[BaseModel] | None = None,
    ) -> str:
        with llm_call_context():
            self._emit_call_started_event(messages=messages, from_task=from_task, from_agent=from_agent)
            try:
                answer = self._conversation.ask([_plain(message) for message in self._format_messages(messages)])
            except Exception as error:
                self._emit_call_failed_event(str(error), from_task=from_task, from_agent=from_agent)
                raise
            self._emit_call_completed_event(
                answer, LLMCallType.LLM_CALL, from_task=from_task, from_agent=from_agent, messages=messages
            )
            return _FINAL + hide(answer)


def _plain(message: LLMMessage) -> ChatMessage:
    role = message["role"]
    return ChatMessage(role="user" if role == "tool" else role, content=reveal(str(message["content"])))


class _KeepsNothing:
    """In place of CrewAI's store of task results: a file in which all organizations would meet."""

    def update(self, task_index: int, log: dict[str, Any]) -> None: ...

    def reset(self) -> None: ...


class _Crew(Crew):
    _task_output_handler: _KeepsNothing = PrivateAttr(default_factory=_KeepsNothing)  # pyright: ignore[reportIncompatibleVariableOverride]


class _Task(Task):
    def prompt(self) -> str:
        """As it was written, without CrewAI's own exhortations: small models obey those instead of the task."""
        return f"{self.description}\n\n{self.expected_output}"


class CrewAiCrew:
    """``work()`` runs the crew to its end in the calling thread."""

    def __init__(self, definition: CrewDefinition, values: Mapping[str, str], conversation: Conversation) -> None:
        llm = ConversationLLM.over(conversation)
        agents = {agent.name: _agent(agent.role, agent.goal, agent.backstory, llm) for agent in definition.agents}
        tasks: dict[str, Task] = {}
        for task in definition.tasks:
            tasks[task.name] = _Task(
                name=task.name,
                description=hide(task.described(values)),
                expected_output=hide(task.expected_output),
                agent=agents[task.agent],
                context=[tasks[name] for name in task.context],
            )
        self._definition = definition
        self._crew = _Crew(
            name=definition.name,
            agents=list(agents.values()),
            tasks=list(tasks.values()),
            process=Process.sequential,
            memory=False,
            cache=False,
            tracing=False,
        )

    def work(self) -> tuple[CrewMessage, ...]:
        # Without inputs: the descriptions are filled in already, and CrewAI would format every text once more.
        output = cast(CrewOutput, self._crew.kickoff())  # pyright: ignore[reportUnknownMemberType]
        return tuple(
            CrewMessage(agent=task.agent, task=task.name, text=reveal(done.raw))
            for task, done in zip(self._definition.tasks, output.tasks_output, strict=True)
        )


def _agent(role: str, goal: str, backstory: str, llm: ConversationLLM) -> Agent:
    return Agent(
        role=hide(role),
        goal=hide(goal),
        backstory=hide(backstory),
        llm=llm,
        tools=[],
        allow_delegation=False,
        max_iter=1,
        # The client has tried often enough, and knows best when trying again may help.
        max_retry_limit=0,
        respect_context_window=False,
    )
