"""How turns end: with tools used, with data, at a limit, with what went wrong, or broken off."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import replace

import pytest
from crewmesh_agent_crew.agents.models import AgentDefinition
from crewmesh_agent_crew.crew_runs.stage import Turn
from crewmesh_agent_crew.guardrails.settings import Limits
from crewmesh_agent_crew.models.calls import ModelCall, ModelReply, Tokens, ToolCall, ToolSpec
from crewmesh_agent_crew.models.errors import ModelRateLimited
from crewmesh_agent_crew.models.json_schemas import JsonSchemas
from crewmesh_agent_crew.tools.toolbox import LocalTool, NeedsDecisionError, Question
from crewmesh_agent_crew.turns.crewai_environment import load_crewai
from crewmesh_agent_crew.turns.errors import TurnAnswerUnusable, TurnLimitReached, TurnTimeout
from crewmesh_agent_crew.turns.runner import Ports, TurnRunner
from crewmesh_contracts.base import JsonObject

from .passing_time import pass_time
from .turn_parts import ANY_OBJECT, Model, Thought, Toolbox, answers, uses

NUMBER: JsonObject = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}


@pytest.fixture
async def turns() -> TurnRunner:
    return TurnRunner(JsonSchemas())


def asked(limits: Limits | None = None, **more: object) -> Turn:
    agent = AgentDefinition(name="a", role="A", goal="g", limits=limits or Limits())
    return replace(Turn(agent=agent, task="t", instruction="Do it."), **more)


def always_uses(name: str) -> Thought:
    """Never gives an answer while it may use tools."""
    return lambda call: uses(name, {}) if call.tools else ModelReply(text="At last.")


class TestTools:
    async def test_several_at_once_are_used_in_order_under_keys_that_count(self, turns: TurnRunner) -> None:
        wanted = tuple(ToolCall(id="same", name=name, arguments={"of": name}) for name in ("two", "one", "none"))
        replies = iter([ModelReply(tool_calls=wanted), ModelReply(text="ok")])
        model, toolbox = Model(lambda _: next(replies)), Toolbox(["one", "two"])
        await turns.run(asked(), model.with_(toolbox))
        assert [(name, key) for name, _, key in toolbox.used] == [("two", "t1"), ("one", "t2"), ("none", "t3")]
        assert [spec.name for spec in model.calls[0].tools] == ["one", "two"]
        assert [message.role for message in model.last] == ["system", "user", "assistant", "tool", "tool", "tool"]

    async def test_broken_arguments_are_told_to_the_model(self, turns: TurnRunner) -> None:
        broken = ToolCall(id="1", name="look", broken='{"a": ')
        replies = iter([ModelReply(tool_calls=(broken,)), ModelReply(text="ok")])
        model, toolbox = Model(lambda _: next(replies)), Toolbox(["look"])
        await turns.run(asked(), model.with_(toolbox))
        assert toolbox.used == []
        assert "must be one JSON object" in model.last[-1].content
        assert model.last[-2].tool_calls == (broken,)

    async def test_helpers_are_used_like_tools_and_what_they_give_is_an_agents_word(self, turns: TurnRunner) -> None:
        async def help_(arguments: JsonObject) -> str:
            return f"secret {arguments}"

        spec = ToolSpec(name="look", description="d", parameters=ANY_OBJECT)
        replies = iter([uses("look", {"x": 1}), ModelReply(text="ok")])
        model, toolbox = Model(lambda _: next(replies)), Toolbox(["look", "other"])
        await turns.run(asked(helpers=[LocalTool(spec, help_)]), model.with_(toolbox))
        assert toolbox.used == []
        assert model.last[-1].content == "[hidden from agent] {'x': 1}"
        assert [spec.name for spec in model.calls[0].tools] == ["other", "look"]


class TestLimits:
    async def test_with_its_last_call_an_agent_has_to_answer(self, turns: TurnRunner) -> None:
        model, toolbox = Model(always_uses("look")), Toolbox(["look"])
        said = await turns.run(asked(Limits(model_calls=3)), model.with_(toolbox))
        assert said.text == "At last."
        assert [len(call.tools) for call in model.calls] == [1, 1, 0]
        assert {message.role for message in model.last} == {"system", "user", "assistant"}
        assert model.prompt.count("look gave {}") == 2
        assert model.last[-1].content.endswith("Give your final answer now, from what is known.")

    async def test_with_one_call_it_has_no_tools_at_all(self, turns: TurnRunner) -> None:
        model = Model(always_uses("look"))
        assert (await turns.run(asked(Limits(model_calls=1)), model.with_(Toolbox(["look"])))).text == "At last."
        assert "No tools" not in model.prompt

    async def test_one_that_never_answers_is_a_problem(self, turns: TurnRunner) -> None:
        model = Model(lambda _: uses("look", {}))
        with pytest.raises(TurnLimitReached, match="used its 4 model calls up"):
            await turns.run(asked(Limits(model_calls=4)), model.with_(Toolbox(["look"])))
        assert len(model.calls) == 4

    async def test_what_it_says_beside_what_it_cannot_do_is_its_answer(self, turns: TurnRunner) -> None:
        model = Model(lambda _: uses("look", {}, text="I know."))
        toolbox = Toolbox(["look"])
        assert (await turns.run(asked(Limits(model_calls=2)), model.with_(toolbox))).text == "I know."
        assert len(toolbox.used) == 1

    async def test_uses_of_tools_are_counted(self, turns: TurnRunner) -> None:
        many = tuple(ToolCall(id=str(n), name="look") for n in range(5))
        model = Model(lambda call: ModelReply(tool_calls=many) if call.tools else ModelReply(text="ok"))
        toolbox = Toolbox(["look"])
        await turns.run(asked(Limits(tool_calls=3)), model.with_(toolbox))
        assert len(toolbox.used) == 3
        assert len(model.calls) == 2
        assert model.prompt.count("you may use tools 3 times") == 2

    async def test_no_uses_are_no_tools(self, turns: TurnRunner) -> None:
        model = Model(always_uses("look"))
        await turns.run(asked(Limits(tool_calls=0)), model.with_(Toolbox(["look"])))
        assert len(model.calls) == 1

    async def test_tokens_are_counted(self, turns: TurnRunner) -> None:
        model = Model(lambda call: uses("look", {}))
        with pytest.raises(TurnLimitReached, match="30 tokens"):
            await turns.run(asked(Limits(tokens=30)), model.with_(Toolbox(["look"])))
        assert len(model.calls) == 2

    async def test_an_answer_that_is_there_is_taken_whatever_it_cost(self, turns: TurnRunner) -> None:
        model = Model(lambda _: ModelReply(text="ok", tokens=Tokens(input=1_000)))
        assert (await turns.run(asked(Limits(tokens=10)), model.with_())).text == "ok"

    async def test_time_is_bounded_and_the_call_is_broken_off(self, turns: TurnRunner) -> None:
        ended = asyncio.Event()

        async def never(_: ModelCall) -> ModelReply:
            pass_time(61)
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            return ModelReply()

        with pytest.raises(TurnTimeout, match=r"within 60 s"):
            await turns.run(asked(Limits(seconds=60)), Ports(never, Toolbox()))
        assert ended.is_set()

    async def test_the_time_of_coworkers_is_not_the_agents_own(self, turns: TurnRunner) -> None:
        async def slow(_: JsonObject) -> str:
            pass_time(40)
            await asyncio.sleep(0.01)
            return "done"

        helper = LocalTool(ToolSpec(name="ask", description="d", parameters=ANY_OBJECT), slow)
        replies = iter([uses("ask", {}), uses("ask", {}), ModelReply(text="ok")])
        said = await turns.run(asked(Limits(seconds=60), helpers=[helper]), Model(lambda _: next(replies)).with_())
        assert said.text == "ok"


class TestData:
    async def test_it_is_asked_for_and_read(self, turns: TurnRunner) -> None:
        model = Model(answers('```json\n{"n": 1}\n```'))
        said = await turns.run(asked(output_schema=NUMBER), model.with_())
        assert said.data == {"n": 1}
        assert model.calls[0].schema_ == NUMBER
        assert "JSON" in model.prompt

    async def test_an_agents_own_schema_holds_where_the_task_has_none(self, turns: TurnRunner) -> None:
        agent = AgentDefinition(name="a", role="A", goal="g", output_schema=NUMBER)
        assert (await turns.run(asked(agent=agent), Model(answers('{"n": 2}')).with_())).data == {"n": 2}

    async def test_an_answer_that_does_not_follow_goes_back_once(self, turns: TurnRunner) -> None:
        model = Model(answers('{"n": "one"}', '{"n": 1}'))
        said = await turns.run(asked(output_schema=NUMBER), model.with_())
        assert (said.data, said.text) == ({"n": 1}, '{"n": 1}')
        assert model.last[-2].content == '{"n": "one"}'
        assert "cannot be used" in model.last[-1].content

    async def test_two_of_them_are_a_problem(self, turns: TurnRunner) -> None:
        model = Model(answers("one", "two"))
        with pytest.raises(TurnAnswerUnusable, match="JSON"):
            await turns.run(asked(output_schema=NUMBER), model.with_())

    async def test_where_words_will_do_they_are_taken(self, turns: TurnRunner) -> None:
        model = Model(answers("one"))
        said = await turns.run(asked(output_schema=NUMBER, or_text=True), model.with_())
        assert (said.text, said.data, len(model.calls)) == ("one", None, 1)

    async def test_while_tools_are_offered_no_schema_is_forced(self, turns: TurnRunner) -> None:
        replies = iter([uses("look", {}), ModelReply(text="n is one"), ModelReply(text='{"n": 1}')])
        model = Model(lambda _: next(replies))
        assert (await turns.run(asked(output_schema=NUMBER), model.with_(Toolbox(["look"])))).data == {"n": 1}
        assert [call.schema_ for call in model.calls] == [None, None, NUMBER]
        assert [len(call.tools) for call in model.calls] == [1, 1, 0]

    async def test_data_is_what_the_guard_lets_out(self, turns: TurnRunner) -> None:
        schema: JsonObject = {"type": "object", "properties": {"s": {"type": "string"}}}
        said = await turns.run(asked(output_schema=schema), Model(answers('{"s": "secret"}')).with_())
        assert (said.text, said.data) == ('{"s": "[hidden]"}', {"s": "[hidden]"})


class OddError(Exception):
    """Of nobody's family."""


QUESTION = Question(id="q", kind="tool", title="May it?", agent="a")


@pytest.mark.parametrize(
    "error",
    [
        ModelRateLimited("rate limit exceeded (429)"),
        NeedsDecisionError(QUESTION),
        OddError("rate limit"),
        ValueError("context length exceeded"),
        TimeoutError("not ours"),
    ],
    ids=lambda error: type(error).__name__,
)
class TestFailures:
    async def test_what_a_model_call_raises_comes_out_as_it_was_and_at_once(
        self, turns: TurnRunner, error: Exception
    ) -> None:
        def fail(_: ModelCall) -> ModelReply:
            raise error

        model = Model(fail)
        with pytest.raises(type(error)) as raised:
            await turns.run(asked(), model.with_())
        assert raised.value is error
        assert len(model.calls) == 1

    async def test_and_what_a_tool_raises(self, turns: TurnRunner, error: Exception) -> None:
        model = Model(always_uses("look"))
        with pytest.raises(type(error)) as raised:
            await turns.run(asked(), model.with_(Toolbox(["look"], fails=error)))
        assert raised.value is error
        assert len(model.calls) == 1


class TestCancelling:
    async def test_the_model_call_is_cancelled(self, turns: TurnRunner) -> None:
        asking, ended = asyncio.Event(), asyncio.Event()

        async def never(_: ModelCall) -> ModelReply:
            asking.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            return ModelReply()

        working = asyncio.create_task(turns.run(asked(), Ports(never, Toolbox())))
        async with asyncio.timeout(300):
            await asking.wait()
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working
        assert ended.is_set()

    async def test_many_who_wait_for_many_do_not_lock_each_other_out(self, turns: TurnRunner) -> None:
        """64 managers, each waiting for a coworker who waits for one."""

        async def coworker(arguments: JsonObject) -> str:
            depth = int(str(arguments["depth"]))
            return (await turns.run(managed(depth), manager(depth))).text

        helper = LocalTool(ToolSpec(name="delegate", description="d", parameters=ANY_OBJECT), coworker)

        def managed(depth: int) -> Turn:
            return asked(helpers=[helper] if depth else [])

        def manager(depth: int) -> Ports:
            def think(call: ModelCall) -> ModelReply:
                again = depth and call.messages[-1].role != "tool"
                return uses("delegate", {"depth": depth - 1}) if again else ModelReply(text=call.messages[-1].content)

            return Model(think).with_()

        async with asyncio.timeout(300):
            said = await asyncio.gather(*(turns.run(managed(2), manager(2)) for _ in range(64)))
        assert len(said) == 64


def test_what_crewai_brings_is_no_work_for_the_garbage_collector() -> None:
    load_crewai()
    frozen = gc.get_freeze_count()
    assert frozen > 100_000
    load_crewai()
    assert gc.get_freeze_count() <= frozen  # and nothing that goes again is kept by it
