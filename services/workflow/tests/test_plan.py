"""plan(): order, dead paths, failures; and that a crash after any commit changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow import Definition
from crewmesh_workflow.engine.plan import Effect, Failed, Finished, Step, plan
from crewmesh_workflow.engine.program import InvalidDefinitionError, Program, compile_program
from crewmesh_workflow.nodes import EFFECT_KINDS
from hypothesis import given, settings
from hypothesis import strategies as st

TRIGGER: JsonObject = {"type": "t", "data": {"yes": True, "q": "why"}}


def program(nodes: Sequence[JsonValue], edges: Sequence[JsonValue], output: JsonObject | None = None) -> Program:
    definition = Definition.model_validate({"name": "x", "nodes": [*nodes], "edges": [*edges], "output": output or {}})
    return compile_program(definition, EFFECT_KINDS)


def search(id_: str, query: str = "q") -> JsonObject:
    return {"id": id_, "kind": "knowledge.search", "knowledge_base": "kb", "query": query}


def branch(id_: str, condition: str = "trigger.data.yes") -> JsonObject:
    return {"id": id_, "kind": "if", "condition": condition}


def edge(from_: str, to: str, port: str = "out") -> JsonObject:
    return {"from": from_, "to": to, "port": port}


def run_all(compiled: Program, steps: dict[str, Step]) -> tuple[list[str], Finished | Failed]:
    """Drive to the end in memory; gives the effects in their order."""
    effects: list[str] = []
    while True:
        turn = plan(compiled, TRIGGER, steps)
        steps.update({step.node: step for step in turn.decided})
        if not isinstance(turn.next, Effect):
            return effects, turn.next
        effects.append(turn.next.step.node)
        steps[turn.next.step.node] = turn.next.step.completed({"text": f"out of {turn.next.step.node}"})


def test_takes_the_branch_and_skips_the_dead_path_up_to_the_join() -> None:
    compiled = program(
        [search("a"), branch("b"), search("yes"), search("no"), search("after-no"), search("join")],
        [
            edge("a", "b"),
            edge("b", "yes", "true"),
            edge("b", "no", "false"),
            edge("no", "after-no"),
            edge("after-no", "join"),
            edge("yes", "join"),
        ],
        {"text": "{{ steps.join.output.text }}"},
    )
    steps: dict[str, Step] = {}
    effects, end = run_all(compiled, steps)
    assert effects == ["a", "yes", "join"]
    assert end == Finished({"text": "out of join"})
    assert {node for node, step in steps.items() if step.status == "skipped"} == {"no", "after-no"}
    assert steps["b"].port == "true"
    assert steps["b"].output == {"result": True}


def test_renders_the_request_from_trigger_and_steps() -> None:
    compiled = program(
        [search("a", "{{ trigger.data.q }}!"), search("b", "{{ steps.a.output.text }}")], [edge("a", "b")]
    )
    first = plan(compiled, TRIGGER, {}).next
    assert isinstance(first, Effect)
    assert first.step.input == {"knowledge_base": "kb", "query": "why!", "limit": 4}
    second = plan(compiled, TRIGGER, {"a": first.step.completed({"text": "because"})}).next
    assert isinstance(second, Effect)
    assert second.step.input == {"knowledge_base": "kb", "query": "because", "limit": 4}


def test_a_started_step_is_asked_for_again_as_it_was_journalled() -> None:
    compiled = program([search("a", "{{ trigger.data.q }}")], [])
    started = Step("a", "running", attempt=3, input={"knowledge_base": "kb", "query": "older", "limit": 4})
    again = plan(compiled, TRIGGER, {"a": started}).next
    assert isinstance(again, Effect)
    assert again.step == started


@pytest.mark.parametrize(
    ("nodes", "type_", "detail"),
    [
        ([search("a", "{{ trigger.data.nothing }}")], "expression-failed", "there is no 'nothing'"),
        ([search("a", "why" * 1500 + "{{ trigger.data.q }}")], "invalid-step-input", "at most 4000 characters"),
        ([branch("a", "trigger.data.q")], "expression-failed", "must be true or false"),
    ],
)
def test_what_cannot_be_rendered_fails_the_run(nodes: list[JsonValue], type_: str, detail: str) -> None:
    turn = plan(program(nodes, []), TRIGGER, {})
    assert isinstance(turn.next, Failed)
    assert turn.next.node == "a"
    assert turn.next.error.type == type_
    assert detail in turn.next.error.detail
    assert [step.status for step in turn.decided] == ["failed"]
    assert "whywhy" not in turn.next.error.detail


def test_an_output_that_reads_a_skipped_step_fails_the_run() -> None:
    compiled = program([branch("b"), search("no")], [edge("b", "no", "false")], {"text": "{{ steps.no.output.text }}"})
    end = plan(compiled, TRIGGER, {}).next
    assert isinstance(end, Failed)
    assert end.node is None
    assert "skipped" in end.error.detail


def test_all_mistakes_are_listed_at_once() -> None:
    with pytest.raises(InvalidDefinitionError) as caught:
        program(
            [
                search("a", "{{7*7}}"),
                search("b", "{{ steps.nope.output.x }}"),
                branch("c", "1 +"),
                search("d"),
                branch("e", "steps.d.output.text == ''"),
                search("f", "{{ steps.f.output.text }}"),
            ],
            [edge("a", "b")],
            {"x": "{{ steps.gone.output }}", "$blob": "sha256:1"},
        )
    places = [mistake.path for mistake in caught.value.mistakes]
    assert sorted(places) == [
        "nodes.a.query",
        "nodes.b.query",
        "nodes.c.condition",
        "nodes.e.condition",
        "nodes.f.query",
        "output",
        "output.$blob",
    ]


@st.composite
def dags(draw: st.DrawFn) -> Program:
    """Random graphs of effects and branches whose conditions read the trigger."""
    count = draw(st.integers(1, 8))
    nodes: list[JsonValue] = []
    edges: list[JsonValue] = []
    for number in range(count):
        is_branch = draw(st.booleans())
        id_ = f"n{number}"
        nodes.append(branch(id_, draw(st.sampled_from(["true", "false"]))) if is_branch else search(id_))
        for before in draw(st.sets(st.integers(0, number - 1), max_size=3)) if number else set[int]():
            earlier = nodes[before]
            assert isinstance(earlier, dict)
            port = draw(st.sampled_from(["true", "false"])) if earlier["kind"] == "if" else "out"
            edges.append(edge(f"n{before}", id_, port))
    shuffled = draw(st.permutations(nodes))
    return program(shuffled, edges)


@settings(max_examples=150)
@given(dags())
def test_a_crash_after_any_commit_changes_nothing(compiled: Program) -> None:
    whole: dict[str, Step] = {}
    effects, end = run_all(compiled, whole)
    assert set(whole) == set(compiled.by_id)
    assert {step.status for step in whole.values()} <= {"completed", "skipped"}

    # What the journal holds after each commit: everything decided before the effect, and the effect as started.
    steps: dict[str, Step] = {}
    done: list[str] = []
    while True:
        turn = plan(compiled, TRIGGER, steps)
        steps.update({step.node: step for step in turn.decided})
        if not isinstance(turn.next, Effect):
            break
        started = turn.next.step
        crashed = {**steps, started.node: started}
        assert plan(compiled, TRIGGER, dict(crashed)).next == replace(turn.next, step=started)
        resumed_effects, resumed_end = run_all(compiled, crashed)
        assert done + resumed_effects == effects
        assert resumed_end == end
        assert crashed == whole
        steps[started.node] = started.completed({"text": f"out of {started.node}"})
        done.append(started.node)
    assert steps == whole
