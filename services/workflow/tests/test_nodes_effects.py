"""Nodes that reach beyond the engine: what they ask of whom, and what comes out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue, Reply
from crewmesh_contracts.invocations import (
    ActionResult,
    AgentProgress,
    AgentResult,
    CrewQuestion,
    HttpReply,
    KickoffProgress,
    KickoffResult,
    ModelAnswer,
    SearchHit,
    SearchResult,
    StopResult,
    TokenUsage,
)
from crewmesh_kit.errors import GatewayTimeout, RemoteProblem, Unavailable
from crewmesh_workflow.expressions import ExpressionError
from crewmesh_workflow.nodes.base import AfterApproval, AfterPause, CompiledEffect
from crewmesh_workflow.nodes.thinking import WHILE_AT_WORK
from crewmesh_workflow.sandbox.model import CodeResult
from pydantic import ValidationError

from services.workflow.tests.node_places import PAYER, RUN, Outside, does, mistakes, scope

USAGE = TokenUsage(model="m", requests=1, prompt_tokens=2, completion_tokens=3)
HIT = SearchHit(document="doc_1", title="Returns", position=0, text="Within 30 days.", score=0.9)


@dataclass(frozen=True)
class Call:
    """A node, the request that it makes, and the output it makes of the answer."""

    kind: str
    members: JsonObject
    path: str
    request: JsonObject
    answer: Reply
    output: JsonObject
    reaches_world: bool = False
    stops: bool = False


CALLS = [
    Call(
        "knowledge.search",
        {"knowledge_base": "handbook", "query": "for {{ trigger.data.name }}", "limit": 2},
        "/internal/search",
        {"knowledge_base": "handbook", "query": "for Zoë", "limit": 2},
        SearchResult(hits=(HIT,)),
        {"hits": [HIT.model_dump()], "text": "Returns\nWithin 30 days."},
    ),
    Call(
        "llm",
        {
            "task": "classify",
            "prompt": "{{ trigger.data.name }}",
            "system": "Be {{ vars.total }}",
            "messages": [{"role": "user", "content": "{{ trigger.data.n }}"}],
            "labels": ["a", "b"],
        },
        "/internal/model",
        {
            "task": "classify", "model": "default", "prompt": "Zoë", "system": "Be 7", "labels": ["a", "b"],
            "messages": [{"role": "user", "content": "3"}], "output_schema": None, "temperature": 0.0, "reuse": False,
            "max_tokens": 1024, "timeout_seconds": 300.0,
        },
        ModelAnswer(text="a", label="a", usage=USAGE),
        {"text": "a", "label": "a", "data": None, "usage": USAGE.model_dump()},
        stops=True,
    ),
    Call(
        "agent",
        {"agent": "writer", "task": "Write to {{ trigger.data.name }}", "output_schema": {"type": "object"}},
        "/internal/agent",
        {
            "agent": "writer", "task": "Write to Zoë", "expected": "A short, correct answer.",
            "output_schema": {"type": "object"}, "filled_in": [{"at": 9, "text": "Zoë", "by": "start"}],
        },
        AgentProgress(
            crew_run="crun_1", status="done", result=AgentResult(text="Dear Zoë", data={"a": 1}, usage=USAGE)
        ),
        {"text": "Dear Zoë", "data": {"a": 1}, "messages": [], "usage": USAGE.model_dump()},
        stops=True,
    ),
    Call(
        "crew",
        {"crew": "desk", "inputs": {"question": "{{ trigger.data.name }}?", "n": "{{ trigger.data.n }}"}},
        "/internal/kickoff",
        {"crew": "desk", "inputs": {"question": "Zoë?", "n": "3"}},
        KickoffProgress(
            crew_run="crun_1", status="done", result=KickoffResult(text="Yes", messages=(), usage=USAGE)
        ),
        {"text": "Yes", "messages": [], "usage": USAGE.model_dump()},
        stops=True,
    ),
    Call(
        "action",
        {"connection": "work", "action": "github.create_issue", "inputs": {"title": "{{ trigger.data.name }}"}},
        "/internal/actions",
        {
            "connection": "work", "action": "github.create_issue", "inputs": {"title": "Zoë"}, "timeout_seconds": 60.0,
        },
        ActionResult(result={"number": 5}),
        {"result": {"number": 5}},
        reaches_world=True,
    ),
    Call(
        "http",
        {
            "url": "https://example.com/{{ trigger.data.n }}",
            "headers": {"x-name": "n{{ vars.total }}"},
            "body": {"a": "{{ trigger.data.n }}"},
        },
        "/internal/http-requests",
        {
            "method": "POST", "url": "https://example.com/3", "headers": {"x-name": "n7"}, "body": {"a": 3},
            "timeout_seconds": 20.0, "repeatable": True,
        },
        HttpReply(status=201, headers={"a": "b"}, body={"ok": True}),
        {"status": 201, "headers": {"a": "b"}, "body": {"ok": True}},
        reaches_world=True,
    ),
    Call(
        "code",
        {"source": "n + {{ 1 }}", "inputs": {"n": "{{ trigger.data.n }}"}, "memory_mib": 16},
        "code",
        {
            "language": "python", "source": "n + {{ 1 }}", "inputs": {"n": 3}, "timeout_seconds": 5.0, "memory_mib": 16,
        },
        CodeResult(result=4, printed=""),
        {"result": 4, "printed": ""},
    ),
]  # fmt: skip


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.kind)
class TestEveryEffect:
    async def test_asks_and_makes_its_output(self, call: Call) -> None:
        node = does(call.kind, CompiledEffect, **call.members)
        outside = Outside([call.answer])
        output = await node.run(node.render(scope()), outside)
        ((path, sent, key),) = outside.calls
        paid_for = sent.pop("payer", None)
        assert (paid_for == PAYER.model_dump(mode="json")) is call.stops, "models are asked in somebody's name"
        assert (path, {name: sent[name] for name in call.request}, key) == (call.path, call.request, f"{RUN}/n")
        assert not WHILE_AT_WORK & node.render(scope()).keys(), "what is filled in on the way is no part of the input"
        assert output == call.output

    async def test_is_rendered_the_same_again(self, call: Call) -> None:
        node = does(call.kind, CompiledEffect, **call.members)
        assert node.render(scope()) == node.render(scope())

    async def test_reaches_the_world_or_only_thinks(self, call: Call) -> None:
        assert does(call.kind, CompiledEffect, **call.members).reaches_world is call.reaches_world

    async def test_can_be_stopped_where_it_thinks(self, call: Call) -> None:
        node = does(call.kind, CompiledEffect, **call.members)
        assert (node.stop is not None) is call.stops
        if node.stop is not None:
            outside = Outside([StopResult(stopped=True)])
            await node.stop(outside)
            assert [(path, request) for path, request, _ in outside.calls] == [("/internal/stop", {"key": f"{RUN}/n"})]

    async def test_a_problem_is_passed_on(self, call: Call) -> None:
        node = does(call.kind, CompiledEffect, **call.members)
        with pytest.raises(GatewayTimeout):
            await node.run(node.render(scope()), Outside([GatewayTimeout("No answer.")]))


CREW: JsonObject = {"crew": "desk", "inputs": {}}
WORKING = KickoffProgress(crew_run="crun_1", status="working")
DONE = KickoffProgress(crew_run="crun_1", status="done", result=KickoffResult(text="Yes", messages=(), usage=USAGE))


def asks(kind: Literal["tool", "budget"]) -> KickoffProgress:
    question = CrewQuestion(
        id="que_1", kind=kind, title="May it be sent?", agent="writer", tool="mail", arguments={"to": "all"}
    )
    return KickoffProgress(crew_run="crun_1", status="waiting", questions=(question,))


class TestCrewsAtWork:
    async def test_they_are_asked_until_they_are_done(self) -> None:
        node = does("crew", CompiledEffect, **CREW)
        outside = Outside([WORKING, WORKING, DONE])
        assert (await node.run(node.render(scope()), outside))["text"] == "Yes"
        assert [(sent["begun"], key) for _, sent, key in outside.calls] == [
            (begun, f"{RUN}/n") for begun in (False, True, True)
        ]

    async def test_for_as_long_as_the_step_may_take(self) -> None:
        node = does("crew", CompiledEffect, **CREW)
        outside = Outside([WORKING], seconds_left=0.0)
        with pytest.raises(GatewayTimeout, match="still at work"):
            await node.run(node.render(scope()), outside)
        assert outside.calls[0][1]["wait_seconds"] == 0

    async def test_people_are_asked_what_they_want_to_do(self) -> None:
        node = does("crew", CompiledEffect, **CREW)
        with pytest.raises(AfterApproval) as asked:
            await node.run(node.render(scope()), Outside([asks("tool")]))
        assert (asked.value.question, asked.value.title) == ("que_1", "May it be sent?")
        assert (asked.value.data, asked.value.about["tool"]) == ({"to": "all"}, "mail")

    async def test_what_people_said_is_passed_on(self) -> None:
        node = does("crew", CompiledEffect, **CREW)
        outside = Outside([DONE])
        said: JsonObject = {"question": "que_1", "approved": True, "arguments": {"to": "me"}}
        await node.run({**node.render(scope()), "verdicts": [said]}, outside)
        assert outside.calls[0][1]["verdicts"] == [{**said, "by": ""}]

    async def test_a_budget_is_waited_for(self) -> None:
        node = does("crew", CompiledEffect, **CREW)
        with pytest.raises(AfterPause) as put_off:
            await node.run(node.render(scope()), Outside([asks("budget")]))
        assert (put_off.value.reason, put_off.value.seconds) == ("budget-awaits-top-up", 30.0)


class TestModel:
    async def test_a_budget_that_lets_wait_is_waited_for(self) -> None:
        """And no attempt is lost over it, else the step would fail within minutes."""
        node = does("llm", CompiledEffect, prompt="p")
        waits = RemoteProblem("$1 is left.", status=402, slug="budget-awaits-top-up", title="t", retryable=True)
        with pytest.raises(AfterPause) as put_off:
            await node.run(node.render(scope()), Outside([waits]))
        assert (put_off.value.detail, put_off.value.seconds) == ("$1 is left.", 30.0)

    async def test_one_that_refuses_is_not(self) -> None:
        node = does("llm", CompiledEffect, prompt="p")
        refuses = RemoteProblem("Nothing is left.", status=402, slug="budget-exhausted", title="t", retryable=False)
        with pytest.raises(RemoteProblem, match="Nothing is left"):
            await node.run(node.render(scope()), Outside([refuses]))


class TestHttp:
    QUESTION: JsonValue = {
        "url": "https://example.com/orders/{{ trigger.data.n }}",
        "headers": {"x-a": "{{ vars.total }}"},
    }
    YES = HttpReply(status=200, headers={}, body={"id": 3})

    @pytest.mark.parametrize(("method", "reaches"), [("GET", False), ("POST", True), ("DELETE", True)])
    def test_a_question_changes_nothing(self, method: str, reaches: bool) -> None:
        assert does("http", CompiledEffect, url="https://example.com", method=method).reaches_world is reaches

    @pytest.mark.parametrize(("effect", "repeatable"), [("idempotent", True), ("verifiable", False), ("unsafe", False)])
    def test_what_a_second_attempt_does(self, effect: str, repeatable: bool) -> None:
        verify = self.QUESTION if effect == "verifiable" else None
        node = does("http", CompiledEffect, url="https://example.com", effect=effect, verify=verify)
        assert node.safety == effect
        assert node.render(scope())["repeatable"] is repeatable
        assert (node.verify is not None) is (effect == "verifiable")

    @pytest.fixture
    def verifiable(self) -> CompiledEffect:
        return does("http", CompiledEffect, url="https://example.com/orders", effect="verifiable", verify=self.QUESTION)

    async def test_the_question_is_kept_with_the_request_and_not_sent_with_it(self, verifiable: CompiledEffect) -> None:
        request = verifiable.render(scope())
        assert request["verify"] == {
            "method": "GET", "url": "https://example.com/orders/3", "headers": {"x-a": "7"}, "body": None,
            "timeout_seconds": 20.0, "repeatable": True,
        }  # fmt: skip
        outside = Outside([self.YES])
        await verifiable.run(request, outside)
        assert "verify" not in outside.calls[0][1]

    async def test_it_happened(self, verifiable: CompiledEffect) -> None:
        outside = Outside([self.YES, self.YES])
        for _ in range(2):
            assert await self.ask(verifiable, outside) == self.YES.model_dump()
        keys = {key for _, _, key in outside.calls}
        assert len(keys) == 2, "an answer that is kept under its key would be an old one"
        assert f"{RUN}/n" not in keys

    async def test_it_did_not_happen(self, verifiable: CompiledEffect) -> None:
        assert await self.ask(verifiable, Outside([answered(404)])) is None

    @pytest.mark.parametrize(
        "answer",
        [HttpReply(status=304, headers={}, body=None), GatewayTimeout("No answer.")],
        ids=["304", "none"],
    )
    async def test_nobody_knows(self, verifiable: CompiledEffect, answer: Reply | Exception) -> None:
        with pytest.raises(Unavailable):
            await self.ask(verifiable, Outside([answer]))

    @pytest.mark.parametrize("status", [400, 403, 500])
    async def test_other_refusals_say_nothing(self, verifiable: CompiledEffect, status: int) -> None:
        with pytest.raises(Unavailable, match="cannot be told now"):
            await self.ask(verifiable, Outside([answered(status)]))

    @staticmethod
    async def ask(node: CompiledEffect, outside: Outside) -> JsonObject | None:
        assert node.verify is not None
        return await node.verify(node.render(scope()), outside)

    def test_a_patient_node_does_not_outstay_the_far_side(self) -> None:
        node = does("http", CompiledEffect, url="https://example.com", timeout_seconds=3_600)
        assert node.render(scope())["timeout_seconds"] == 120

    @pytest.mark.parametrize("name", ["a\r\nx-b: c", "\x00", "ü" * 5_000])
    def test_a_header_cannot_be_split(self, name: str) -> None:
        node = does("http", CompiledEffect, url="https://example.com", headers={"x-a": "{{ trigger.data.name }}"})
        with pytest.raises(ValidationError):
            node.render(scope(trigger={"data": {"name": name}}))


class TestMistakes:
    def test_are_told_with_their_place(self) -> None:
        wrong = "{{ nowhere }}"
        assert set(mistakes("http", url=wrong, headers={"a": wrong}, body=[wrong])) == {
            "nodes.n.url", "nodes.n.headers.a", "nodes.n.body.0",
        }  # fmt: skip
        assert "nodes.n.verify.url" in mistakes("http", url="https://a.b", effect="verifiable", verify={"url": wrong})
        assert set(mistakes("llm", prompt=wrong, system=wrong, messages=[{"role": "user", "content": wrong}])) == {
            "nodes.n.prompt", "nodes.n.system", "nodes.n.messages.0.content",
        }  # fmt: skip
        assert set(mistakes("agent", agent="a", task=wrong, expected=wrong)) == {"nodes.n.task", "nodes.n.expected"}
        assert "nodes.n.inputs.a" in mistakes("crew", crew="a", inputs={"a": wrong})
        assert "nodes.n.inputs.a.0" in mistakes("action", connection="a", action="b.c", inputs={"a": [wrong]})
        assert "nodes.n.query" in mistakes("knowledge.search", knowledge_base="a", query=wrong)
        assert "nodes.n.inputs.a" in mistakes("code", source="1", inputs={"a": wrong})

    @pytest.mark.parametrize("name", ["a b", "1a", "a-b", "class", "a" * 65, ""])
    def test_names_that_are_no_variables(self, name: str) -> None:
        assert "name it with letters" in mistakes("code", source="1", inputs={name: 1})[f"nodes.n.inputs.{name}"]

    def test_nothing_to_ask_is_an_error_and_no_empty_question(self) -> None:
        with pytest.raises(ExpressionError):
            does("llm", CompiledEffect, prompt="{{ trigger.data.missing }}").render(scope())
        with pytest.raises(ValidationError):
            does("knowledge.search", CompiledEffect, knowledge_base="a", query="{{ trigger.data.name }}").render(
                scope(trigger={"data": {"name": ""}})
            )


def answered(status: int) -> RemoteProblem:
    """As the integration service tells what the other side answered."""
    return RemoteProblem(
        f"example.com answered {status}.",
        status=424,
        slug="upstream-refused",
        title="Upstream refused",
        retryable=False,
        upstream_status=status,
    )
