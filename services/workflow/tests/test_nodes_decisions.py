"""Nodes that are decided where they stand."""

from __future__ import annotations

import re

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.events import CloudEvent
from crewmesh_contracts.workflow.nodes.emit import EmitNode
from crewmesh_workflow.expressions import ExpressionError
from crewmesh_workflow.nodes.base import Decided, Decision, Emitted, Refused
from pydantic import ValidationError

from services.workflow.tests.node_places import does, mistakes, place, scope

CASES: JsonValue = [
    {"port": "many", "condition": "trigger.data.n > 10"},
    {"port": "some", "condition": "trigger.data.n > 2"},
    {"port": "any", "condition": "trigger.data.n > 0"},
]


@pytest.mark.parametrize(
    ("kind", "members", "output", "ports"),
    [
        ("if", {"condition": "trigger.data.n == 3"}, {"result": True}, ("true",)),
        ("if", {"condition": "vars.total < 3"}, {"result": False}, ("false",)),
        ("switch", {"cases": CASES}, {"case": "some"}, ("some",)),
        ("switch", {"cases": [{"port": "big", "condition": "vars.total > 100"}]}, {"case": "default"}, ("default",)),
        (
            "transform",
            {"output": {"n": "{{ trigger.data.n }}", "text": "{{ trigger.data.n }} for {{ trigger.data.name }}"}},
            {"n": 3, "text": "3 for Zoë"},
            ("out",),
        ),
        ("transform", {"output": {"a": {"b": ["{{ steps.before.output.x }}"]}}}, {"a": {"b": [1]}}, ("out",)),
        ("parallel", {"branches": ["left", "right"]}, {}, ("left", "right")),
    ],
)
def test_decided(kind: str, members: JsonObject, output: JsonObject, ports: tuple[str, ...]) -> None:
    assert does(kind, Decision, **members).decide(place()) == Decided(output, ports)


class TestSet:
    def test_variables_are_made_from_those_before(self) -> None:
        node = does("set", Decision, variables={"total": "{{ trigger.data.n }}", "before": "{{ vars.total }}"})
        assert node.decide(place()) == Decided({"total": 3, "before": 7}, sets={"total": 3, "before": 7})


class TestEmit:
    def test_the_event_has_the_same_id_whenever_it_is_decided(self) -> None:
        node = does(
            "emit", Decision, type="com.example.done", subject="{{ trigger.data.name }}", data={"n": "{{ vars.total }}"}
        )
        decided = [node.decide(place()) for _ in range(2)]
        assert decided[0] == decided[1]
        assert isinstance(decided[0], Decided)
        event = decided[0].emits
        assert event is not None
        assert re.fullmatch(r"evt_[0-9a-f]{32}", event.id)
        assert event == Emitted(event.id, "com.example.done", "Zoë", {"n": 7})
        assert decided[0].output == {"event": event.id}

    def test_each_round_of_a_loop_has_an_event_of_its_own(self) -> None:
        node = does("emit", Decision, type="com.example.done")
        decided = [node.decide(place(f"loop[{index}].n")) for index in range(3)]
        assert len({str(said.output) for said in decided if isinstance(said, Decided)}) == 3

    def test_its_type_is_no_template(self) -> None:
        with pytest.raises(ValidationError, match="a type is no template"):
            EmitNode.model_validate({"id": "n", "kind": "emit", "type": "com.example.{{ trigger.data.t }}"})

    def test_without_subject_and_data(self) -> None:
        said = does("emit", Decision, type="com.example.done").decide(place())
        assert isinstance(said, Decided)
        assert said.emits is not None
        assert (said.emits.subject, said.emits.data) == (None, None)

    @pytest.mark.parametrize("length", [0, 1_025])
    def test_a_subject_that_no_event_may_have_is_an_error(self, length: int) -> None:
        node = does("emit", Decision, type="com.example.done", subject="{{ trigger.data.name }}")
        with pytest.raises(ExpressionError, match=f"but has {length}$"):
            node.decide(place(trigger={"data": {"name": "x" * length}}))

    def test_a_subject_may_be_as_long_as_an_event_takes_it(self) -> None:
        node = does("emit", Decision, type="com.example.done", subject="{{ trigger.data.name }}")
        said = node.decide(place(trigger={"data": {"name": "x" * 1_024}}))
        assert isinstance(said, Decided)
        assert said.emits is not None
        assert CloudEvent(id="e", source="s", type="t", subject=said.emits.subject).subject == "x" * 1_024


class TestRespond:
    def test_the_answer_is_also_the_output(self) -> None:
        node = does(
            "respond", Decision, status=201, headers={"x-n": "{{ trigger.data.n }}"}, body={"n": "{{ vars.total }}"}
        )
        answer: JsonObject = {"status": 201, "headers": {"x-n": "3"}, "body": {"n": 7}}
        assert node.decide(place()) == Decided(answer, response=answer)

    def test_nothing_but_yes(self) -> None:
        said = does("respond", Decision).decide(place())
        assert isinstance(said, Decided)
        assert said.response == {"status": 200, "headers": {}, "body": None}


class TestFail:
    def test_the_message_is_rendered(self) -> None:
        said = does("fail", Decision, message="No stock for {{ trigger.data.name }}").decide(place())
        assert said == Refused("failed-by-workflow", "No stock for Zoë")

    def test_a_long_message_is_cut(self) -> None:
        said = does("fail", Decision, message="{{ trigger.data.name }}").decide(
            place(trigger={"data": {"name": "x" * 50_000}})
        )
        assert isinstance(said, Refused)
        assert len(said.detail) == 2_000


@pytest.mark.parametrize(
    ("kind", "members"),
    [
        ("if", {"condition": "trigger.data.missing == 3"}),
        ("if", {"condition": "trigger.data.n + 1"}),
        ("switch", {"cases": [{"port": "a", "condition": "trigger.data.missing"}]}),
        ("transform", {"output": {"a": "{{ trigger.data.missing }}"}}),
        ("set", {"variables": {"a": "{{ trigger.data.missing }}"}}),
        ("emit", {"type": "com.example.done", "subject": "{{ trigger.data.missing }}"}),
        ("respond", {"body": "{{ trigger.data.missing }}"}),
        ("fail", {"message": "{{ trigger.data.missing }}"}),
    ],
)
def test_what_is_not_there_is_an_error(kind: str, members: JsonObject) -> None:
    with pytest.raises(ExpressionError):
        does(kind, Decision, **members).decide(place())


@pytest.mark.parametrize(
    ("kind", "members", "path"),
    [
        ("if", {"condition": "trigger.data.n =="}, "nodes.n.condition"),
        ("switch", {"cases": [{"port": "a", "condition": "1 +"}]}, "nodes.n.cases.0.condition"),
        ("transform", {"output": {"a": {"b": "{{ nowhere }}"}}}, "nodes.n.output.a.b"),
        ("set", {"variables": {"a": "{{ trigger. }}"}}, "nodes.n.variables.a"),
        ("emit", {"type": "com.example.done", "data": ["{{ }}"]}, "nodes.n.data.0"),
        ("emit", {"type": "com.example.done", "subject": "{{ steps.later.output }}"}, "nodes.n.subject"),
        ("respond", {"headers": {"x-a": "{{ item }}"}}, "nodes.n.headers.x-a"),
        ("fail", {"message": "{{ trigger"}, "nodes.n.message"),
    ],
)
def test_mistakes_are_told_with_their_place(kind: str, members: JsonObject, path: str) -> None:
    assert path in mistakes(kind, **members)


def test_the_place_itself_is_not_changed() -> None:
    before = scope().all()
    does("set", Decision, variables={"total": 5}).decide(place())
    assert scope().all() == before
