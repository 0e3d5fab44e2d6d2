"""What an agent has before it during one turn: a model to ask, tools to use, and limits to both.

CrewAI's agent asks here whatever it asks. What goes wrong is kept here as it was, for CrewAI wraps, retries and rewords
what passes through it. Uses of tools are numbered in the order in which the model wants them, so that the same answers
lead to the same uses under the same keys when a turn is played again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn, TypeVar

from crewmesh_contracts.base import JsonObject

from crewmesh_agent_crew.crew_runs.stage import Turn
from crewmesh_agent_crew.models.calls import Message, ModelCall, ModelReply, ToolCall
from crewmesh_agent_crew.tools.toolbox import Toolbox
from crewmesh_agent_crew.turns.errors import TurnLimitReached, TurnTimeout
from crewmesh_agent_crew.turns.instructions import history_of, with_history, without_tools
from crewmesh_agent_crew.turns.steady import steady

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, slots=True)
class Ports:
    """Where an agent's questions to models go, and its tools."""

    ask: Callable[[ModelCall], Awaitable[ModelReply]]
    toolbox: Toolbox


class TurnOverError(Exception):
    """No answer will come; ``Desk.failure`` tells why."""


class Desk:
    """``failure``: what ended the turn. ``asked`` and ``reply``: the last question to the model, and its answer."""

    def __init__(self, turn: Turn, ports: Ports) -> None:
        self.failure: Exception | None = None
        self.asked: tuple[Message, ...] = ()
        self.reply = ModelReply()
        self._agent = turn.agent
        self._schema = turn.output_schema or turn.agent.output_schema
        self._ports = ports
        self._limits = turn.agent.limits
        self._history = history_of(turn, ports.toolbox)
        self._helpers = {helper.spec.name: helper for helper in turn.helpers}
        granted = [spec for spec in ports.toolbox.specs if spec.name not in self._helpers]
        self._specs = (*granted, *(helper.spec for helper in turn.helpers))
        self._model_calls = 0
        self._tool_uses = 0
        self._tokens = 0
        self._seconds_left = self._limits.seconds

    @property
    def has_tools(self) -> bool:
        return bool(self._specs) and self._limits.tool_calls > 0

    async def ask(self, messages: Sequence[Message]) -> ModelReply:
        """The model's next answer. With its last call, and when all uses are used up, it is offered no tools."""
        if not self.has_tools:
            return await self._asked(self._call(tuple(messages), self._schema))
        if self._model_calls + 1 < self._limits.model_calls and self._tool_uses < self._limits.tool_calls:
            # Not all servers can be forced to a schema while they may use tools; the last question is.
            return await self._asked(self._call(tuple(messages)).model_copy(update={"tools": self._specs}))
        return await self.ask_at_last(messages)

    async def ask_at_last(self, messages: Sequence[Message]) -> ModelReply:
        """For the answer itself, whatever it was that the model still wanted to do."""
        reply = await self._asked(self._call(without_tools(messages), self._schema))
        if reply.tool_calls and not reply.text:
            self._over(TurnLimitReached(self._spent(f"{self._limits.model_calls} model calls")))
        self.reply = reply.model_copy(update={"tool_calls": ()})
        return self.reply

    async def use(self, call: ToolCall) -> str:
        """What the model is shown of what its call gave."""
        self._tool_uses += 1
        if self._tool_uses > self._limits.tool_calls:
            return f"Not done: you may use tools {self._limits.tool_calls} times. Give your final answer."
        if call.broken is not None:
            return f"Not done: the arguments of {call.name} must be one JSON object, and are not."
        helper = self._helpers.get(call.name)
        if helper is not None:
            return self._ports.toolbox.shown(await self._kept(helper.use(call.arguments)), "agent")
        key = f"t{self._tool_uses}"
        return await self._kept(self._in_time(self._ports.toolbox.use(call.name, call.arguments, key=key)))

    def _call(self, messages: tuple[Message, ...], schema: JsonObject | None = None) -> ModelCall:
        return ModelCall(
            model=self._agent.model,
            messages=with_history(messages, self._history),
            schema_=schema,
            temperature=self._agent.temperature,
            max_tokens=self._agent.max_tokens,
        )

    async def _asked(self, call: ModelCall) -> ModelReply:
        if self._model_calls >= self._limits.model_calls:
            self._over(TurnLimitReached(self._spent(f"{self._limits.model_calls} model calls")))
        most = self._limits.tokens
        if most is not None and self._tokens >= most:
            self._over(TurnLimitReached(self._spent(f"{most} tokens")))
        self._model_calls += 1
        self.asked = call.messages
        self.reply = steady(await self._kept(self._in_time(self._ports.ask(call))))
        self._tokens += self.reply.tokens.input + self.reply.tokens.output
        return self.reply

    async def _in_time(self, work: Awaitable[ResultT]) -> ResultT:
        """Within what is left of the agent's seconds. The time of coworkers it asks is their own, and not taken."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        clock = asyncio.timeout(max(self._seconds_left, 0))
        try:
            async with clock:
                return await work
        except TimeoutError:
            if not clock.expired():
                raise
            raise TurnTimeout(
                f"The agent {self._agent.name} did not answer within {self._limits.seconds:g} s. Give it less to do, "
                "or more time in limits.seconds."
            ) from None
        finally:
            self._seconds_left -= loop.time() - began

    async def _kept(self, work: Awaitable[ResultT]) -> ResultT:
        try:
            return await work
        except Exception as error:
            self.failure = error
        # With no cause attached, or CrewAI would look into it for a rate limit and ask again by itself.
        raise TurnOverError

    def _over(self, problem: TurnLimitReached) -> NoReturn:
        self.failure = problem
        raise TurnOverError

    def _spent(self, what: str) -> str:
        return (
            f"The agent {self._agent.name} used its {what} up without an answer. Allow it more in its limits, or give "
            "it less to do."
        )
