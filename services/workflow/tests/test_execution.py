"""The state machine of a run by itself: ways, joins, loops, failures, people; and that a crash changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow import Definition
from crewmesh_workflow.engine.execution import Execution
from crewmesh_workflow.engine.steps import Cancelled, Failed, Finished, Step, StepError
from crewmesh_workflow.engine.turn import Facts, Turn
from crewmesh_workflow.nodes import all_kinds
from crewmesh_workflow.nodes.base import CompiledEffect, WaitFor
from crewmesh_workflow.program.compile import compile_program
from crewmesh_workflow.program.model import Program

TRIGGER: JsonObject = {"data": {"yes": True, "items": [1, 2, 3]}}
BROKEN = StepError("upstream-failed", "it broke")
Does = Callable[[Step], Step]


def done(step: Step) -> Step:
    return step.completed({"text": f"out of {step.path}", "hits": []})


@dataclass
class Play:
    """Drives a run in memory. ``does`` says what an effect brings; by default it is done."""

    program: Program
    does: Mapping[str, Does] = field(default_factory=dict[str, Does])
    test: bool = False
    journal: dict[str, Step] = field(default_factory=dict[str, Step])
    effects: list[str] = field(default_factory=list[str])
    execution: Execution = field(init=False)
    failing: Failed | Cancelled | None = None
    turn: Turn = field(init=False)

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """From the journal, as after a crash."""
        self.execution = Execution(
            self.program, Facts("run_1", TRIGGER, {"id": "run_1"}, self.test), self.journal, self.failing
        )
        self._journalled(self.execution.begin())
        self._go_on()

    def _journalled(self, turn: Turn) -> None:
        self.turn = turn
        self.journal |= turn.changed
        self.failing = self.failing or turn.failing

    def _go_on(self) -> None:
        """Long turns come in pieces."""
        while self.execution.unfinished:
            ready = self.turn.ready
            self._journalled(self.execution.go_on())
            self.turn.ready[:0] = ready

    def step(self) -> bool:
        """Do one effect of those that are ready; false when there is none."""
        ready = next((self.execution.steps[path] for path in self.execution.active), None)
        if ready is None or self.turn.end is not None:
            return False
        self.effects.append(ready.path)
        does = self.does.get(ready.path, done)
        self._journalled(self.execution.happened([does(ready)]))
        self._go_on()
        return True

    def go(self, *, crash: bool = False) -> Play:
        """To where nothing can be done any more. ``crash``: after every single effect."""
        while self.step():
            if crash and self.turn.end is None:
                self.begin()
        return self

    def arrive(self, path: str, data: JsonObject) -> Play:
        self._journalled(self.execution.happened(arrived={path: data}))
        return self.go()

    def cancel(self) -> Play:
        self._journalled(self.execution.cancel())
        return self.go()

    @property
    def output(self) -> JsonObject:
        assert isinstance(self.turn.end, Finished), self.turn.end
        return self.turn.end.output

    @property
    def error(self) -> Failed:
        assert isinstance(self.turn.end, Failed), self.turn.end
        return self.turn.end

    def status(self) -> dict[str, str]:
        return {path: step.status for path, step in self.journal.items()}


def program(nodes: Sequence[JsonValue], edges: Sequence[JsonValue] = (), **more: JsonValue) -> Program:
    body: JsonObject = {"name": "x", "nodes": [*nodes], "edges": [*edges], **more}
    return compile_program(Definition.model_validate(body), all_kinds())


def effect(id_: str, **more: JsonValue) -> JsonObject:
    return {"id": id_, "kind": "knowledge.search", "knowledge_base": "kb", "query": "q", **more}


def undone(id_: str, **more: JsonValue) -> JsonObject:
    return effect(id_, compensate={"do": effect("undo", query=f"{{{{ steps.{id_}.output.text }}}}")}, **more)


def edge(from_: str, to: str, port: str = "out") -> JsonObject:
    return {"from": from_, "to": to, "port": port}


def fails(step: Step) -> Step:
    return step.failed(BROKEN)


class TestWays:
    NODES: tuple[JsonValue, ...] = (
        {"id": "b", "kind": "if", "condition": "trigger.data.yes"},
        effect("yes"),
        effect("no"),
        effect("after-no"),
        effect("end"),
    )
    EDGES = (
        edge("b", "yes", "true"),
        edge("b", "no", "false"),
        edge("no", "after-no"),
        edge("after-no", "end"),
        edge("yes", "end"),
    )

    def test_takes_the_branch_and_skips_the_dead_path_up_to_the_meeting(self) -> None:
        play = Play(program(self.NODES, self.EDGES, output={"text": "{{ steps.end.output.text }}"})).go()
        assert play.effects == ["yes", "end"]
        assert play.status() == {
            "b": "completed", "yes": "completed", "no": "skipped", "after-no": "skipped", "end": "completed",
        }  # fmt: skip
        assert play.output == {"text": "out of end"}

    def test_several_ways_are_gone_at_once(self) -> None:
        play = Play(program([effect("a"), effect("b"), effect("c")], [edge("a", "c"), edge("b", "c")]))
        assert [ready.step.path for ready in play.turn.ready] == ["a", "b"]
        assert play.go().effects == ["a", "b", "c"]

    def test_variables_are_what_was_set_last(self) -> None:
        nodes: list[JsonValue] = [
            {"id": "one", "kind": "set", "variables": {"n": 1, "kept": "k"}},
            effect("e"),
            {"id": "two", "kind": "set", "variables": {"n": 2}},
        ]
        play = Play(
            program(nodes, [edge("one", "e"), edge("e", "two")], output={"n": "{{ vars.n }}", "k": "{{ vars.kept }}"})
        )
        assert play.go(crash=True).output == {"n": 2, "k": "k"}


class TestJoins:
    @staticmethod
    def join(**more: JsonValue) -> Program:
        return program(
            [effect("a"), effect("b"), effect("c"), {"id": "j", "kind": "join", **more}, effect("end")],
            [edge("a", "j"), edge("b", "j"), edge("c", "j"), edge("j", "end")],
            output={"arrived": "{{ steps.j.output.arrived }}"},
        )

    def test_all_are_waited_for(self) -> None:
        play = Play(self.join(mode="all")).go()
        assert play.output == {"arrived": ["a", "b", "c"]}
        assert play.effects == ["a", "b", "c", "end"]

    @pytest.mark.parametrize(
        ("more", "arrived"), [({"mode": "any"}, ["a"]), ({"mode": "count", "count": 2}, ["a", "b"])]
    )
    def test_some_are_enough_and_the_others_are_stopped(self, more: JsonObject, arrived: list[str]) -> None:
        play = Play(self.join(**more))
        stopped: list[str] = []
        while play.step():
            stopped += play.turn.stopped
        assert play.output == {"arrived": [*arrived]}
        assert sorted([*arrived, *stopped]) == ["a", "b", "c"]
        assert {play.journal[path].status for path in stopped} == {"cancelled"}
        again = Play(self.join(**more), journal={path: s for path, s in play.journal.items() if path != "end"})
        assert again.go().output == {"arrived": [*arrived]}

    def test_too_few_fail_the_join(self) -> None:
        nodes: list[JsonValue] = [
            {"id": "i", "kind": "if", "condition": "true"},
            effect("a"),
            effect("b"),
            {"id": "j", "kind": "join", "mode": "count", "count": 2},
        ]
        edges = [edge("i", "a", "true"), edge("i", "b", "false"), edge("a", "j"), edge("b", "j")]
        assert Play(program(nodes, edges)).go().error.error.type == "join-not-reached"


def each(*nodes: JsonValue, **more: JsonValue) -> JsonObject:
    body: JsonObject = {"nodes": [*nodes], "output": {"i": "{{ item }}", "at": "{{ index }}"}}
    return {"id": "l", "kind": "for_each", "items": "{{ trigger.data.items }}", "body": body, **more}


ITEMS: JsonObject = {"items": "{{ steps.l.output.items }}", "errors": "{{ steps.l.output.errors }}"}
THREE: list[JsonValue] = [{"i": 1, "at": 0}, {"i": 2, "at": 1}, {"i": 3, "at": 2}]


class TestLoops:
    @pytest.mark.parametrize("concurrency", [1, 2, 10])
    @pytest.mark.parametrize("crash", [False, True])
    def test_every_item_in_its_place(self, concurrency: int, crash: bool) -> None:
        play = Play(program([each(effect("e"), concurrency=concurrency)], output=ITEMS)).go(crash=crash)
        assert play.output == {"items": THREE, "errors": []}
        assert sorted(play.effects) == ["l[0].e", "l[1].e", "l[2].e"]

    def test_no_more_at_a_time_than_wanted(self) -> None:
        play = Play(program([each(effect("e"), concurrency=2)]))
        assert [ready.step.path for ready in play.turn.ready] == ["l[0].e", "l[1].e"]
        play.step()
        assert [ready.step.path for ready in play.turn.ready] == ["l[2].e"]

    def test_a_failed_item_leaves_a_gap_or_fails_the_loop(self) -> None:
        broken = {"l[1].e": fails}
        goes_on = Play(program([each(effect("e"), on_item_error="continue")], output=ITEMS), broken).go()
        error: JsonObject = {"index": 1, "type": "upstream-failed", "detail": "it broke"}
        assert goes_on.output == {"items": [THREE[0], None, THREE[2]], "errors": [error]}
        stops = Play(program([each(effect("e"))]), broken).go()
        assert (stops.error.path, stops.error.error) == ("l[1].e", BROKEN)
        assert stops.effects == ["l[0].e", "l[1].e", "l[2].e"], "what was under way came to its end"

    def test_the_body_sees_what_was_before_the_loop(self) -> None:
        nodes: list[JsonValue] = [
            effect("before"),
            each(effect("e", query="{{ item }} {{ steps.before.output.text }}")),
        ]
        play = Play(program(nodes, [edge("before", "l")])).go()
        assert (play.journal["l[2].e"].input or {})["query"] == "3 out of before"

    def test_loops_in_loops(self) -> None:
        inner: JsonObject = {
            "id": "m",
            "kind": "for_each",
            "items": ["x", "y"],
            "body": {"nodes": [effect("e", query="{{ item }}")]},
        }
        play = Play(program([each(inner)])).go(crash=True)
        assert sorted(play.effects) == [f"l[{i}].m[{j}].e" for i in range(3) for j in range(2)]
        assert [(play.journal[f"l[{i}].m[1].e"].input or {})["query"] for i in range(3)] == ["y"] * 3

    @pytest.mark.parametrize("crash", [False, True])
    def test_while_asks_before_every_round(self, crash: bool) -> None:
        add: JsonObject = {"id": "add", "kind": "set", "variables": {"n": "{{ index }}"}}
        body: JsonObject = {"nodes": [effect("e"), add], "edges": [edge("e", "add")], "output": {"n": "{{ index }}"}}
        loop: JsonObject = {"id": "w", "kind": "while", "condition": "index < 3", "body": body}
        play = Play(program([loop], output={"w": "{{ steps.w.output }}", "n": "{{ vars.n }}"})).go(crash=crash)
        assert play.output == {"w": {"iterations": 3, "last": {"n": 2}}, "n": 2}

    def test_while_never_goes_on_for_ever(self) -> None:
        loop: JsonObject = {
            "id": "w", "kind": "while", "condition": "true", "max_iterations": 2, "body": {"nodes": [effect("e")]},
        }  # fmt: skip
        assert Play(program([loop])).go().error.error.type == "too-many-iterations"


class TestFailing:
    def test_a_handled_failure_is_a_way(self) -> None:
        nodes = [
            effect("a", on_error="handle"),
            effect("ok"),
            effect("oops", query="{{ steps.a.output.error.detail }}"),
        ]
        play = Play(program(nodes, [edge("a", "ok"), edge("a", "oops", "error")]), {"a": fails}).go()
        assert play.effects == ["a", "oops"]
        assert (play.journal["oops"].input or {})["query"] == "it broke"
        assert play.journal["a"].error == BROKEN
        gone_on = Play(program([effect("a", on_error="continue"), effect("ok")], [edge("a", "ok")]), {"a": fails}).go()
        assert gone_on.effects == ["a", "ok"]

    @pytest.mark.parametrize("crash", [False, True])
    def test_what_was_done_is_undone_the_last_first_and_then_the_handler_runs(self, crash: bool) -> None:
        nodes = [undone("a"), undone("b"), effect("c")]
        handler: JsonObject = {"nodes": [effect("tell", query="{{ error.node }}: {{ error.detail }}")]}
        built = program(nodes, [edge("a", "b"), edge("b", "c")], on_failure=handler)
        play = Play(built, {"c": fails, "b!undo": fails}).go(crash=crash)
        assert play.effects == ["a", "b", "c", "b!undo", "a!undo", "!failure.tell"]
        assert (play.journal["a!undo"].input or {})["query"] == "out of a"
        assert (play.journal["!failure.tell"].input or {})["query"] == "c: it broke"
        assert play.error == Failed("c", BROKEN)

    def test_what_is_under_way_comes_to_its_end_and_is_undone(self) -> None:
        play = Play(program([effect("bad"), undone("a"), effect("after")], [edge("a", "after")]), {"bad": fails}).go()
        assert play.effects == ["bad", "a", "a!undo"]
        assert play.error.path == "bad"

    def test_a_cancelled_run_stops_what_is_under_way_and_undoes_what_was_done(self) -> None:
        play = Play(program([undone("a"), effect("b")], [edge("a", "b")]))
        play.step()
        play.cancel()
        assert play.effects == ["a", "a!undo"]
        assert isinstance(play.turn.end, Cancelled)
        assert play.status() == {"a": "completed", "b": "cancelled", "a!undo": "completed"}

    def test_an_expression_without_a_value_fails_its_step(self) -> None:
        play = Play(program([effect("a", query="{{ trigger.data.nothing }}")])).go()
        assert (play.error.path, play.error.error.type) == ("a", "expression-failed")

    def test_what_a_loop_leaves_behind_is_cancelled(self) -> None:
        play = Play(program([each(effect("e"), concurrency=1)]))
        play.cancel()
        assert play.status() == {"l": "cancelled", "l[0].e": "cancelled"}


class TestPeople:
    def test_an_action_waits_for_a_yes_and_is_done_as_it_was_edited(self) -> None:
        built = program([effect("a", approval="always")])
        play = Play(built)
        assert play.go().effects == []
        assert play.journal["a"].status == "waiting"
        play.arrive("a", {"approved": True, "data": {"knowledge_base": "kb", "query": "better", "limit": 1}})
        assert play.effects == ["a"]
        assert (play.journal["a"].input or {})["query"] == "better"
        refused = Play(built).arrive("a", {"approved": False})
        assert refused.error.error.type == "approval-rejected"

    def test_hybrid_asks_where_a_rule_is_true(self) -> None:
        http: JsonObject = {"kind": "http", "url": "https://x.test/", "body": "{{ item }}"}
        rules: JsonObject = {"mode": "hybrid", "approval_rules": [{"when": "input.body > 2 && node.kind == 'http'"}]}
        play = Play(program([each({"id": "h", **http})], settings=rules)).go()
        assert play.effects == ["l[0].h", "l[1].h"]
        assert play.journal["l[2].h"].status == "waiting"

    @pytest.mark.parametrize(
        ("said", "effects"),
        [({"happened": True, "output": {"text": "t", "hits": []}}, ["a"]), ({"happened": False}, ["a", "a"])],
    )
    def test_an_unknown_outcome_is_told_by_a_person(self, said: JsonObject, effects: list[str]) -> None:
        def at_first_unknown(step: Step) -> Step:
            return done(step) if step.rounds else replace(step, status="waiting", wait=WaitFor("outcome"))

        play = Play(program([effect("a")]), {"a": at_first_unknown}).go()
        assert play.journal["a"].status == "waiting"
        play.arrive("a", said)
        assert play.effects == effects
        assert isinstance(play.turn.end, Finished)

    def test_waiting_survives_a_crash(self) -> None:
        nodes: list[JsonValue] = [{"id": "ok", "kind": "approval", "title": "?"}, effect("a")]
        play = Play(program(nodes, [edge("ok", "a", "approved")]))
        play.begin()
        assert play.arrive("ok", {"approved": True, "data": None, "decisions": []}).effects == ["a"]


def test_a_test_run_acts_nowhere_and_waits_for_nobody() -> None:
    nodes: list[JsonValue] = [
        effect("a"),
        effect("b", sample={"text": "pinned", "hits": []}),
        {"id": "d", "kind": "delay", "seconds": 1000},
        {"id": "ok", "kind": "approval", "title": "?"},
        effect("last"),
    ]
    edges = [edge("a", "b"), edge("b", "d"), edge("d", "ok"), edge("ok", "last", "approved")]
    play = Play(
        program(nodes, edges, output={"a": "{{ steps.a.output.text }}", "b": "{{ steps.b.output.text }}"}), test=True
    )
    assert play.output == {"a": "sample", "b": "pinned"}
    assert play.effects == []


def test_a_long_turn_comes_in_pieces() -> None:
    body: JsonObject = {"nodes": [{"id": "s", "kind": "set", "variables": {"n": "{{ index }}"}}]}
    loop: JsonObject = {"id": "w", "kind": "while", "condition": "index < 2000", "max_iterations": 5000, "body": body}
    built = program([loop], output={"n": "{{ vars.n }}"})
    execution = Execution(built, Facts("run_1", TRIGGER))
    pieces = [execution.begin()]
    while execution.unfinished:
        pieces.append(execution.go_on())
    assert len(pieces) == 7
    assert pieces[-1].end == Finished({"n": 1999})
    assert sum(len(piece.changed) for piece in pieces[:-1]) > 1_500, "each is journalled as it comes"


def test_no_run_has_steps_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crewmesh_workflow.engine.execution.MOST_STEPS", 50)
    body: JsonObject = {"nodes": [{"id": "s", "kind": "set", "variables": {"n": 1}}]}
    loop: JsonObject = {"id": "w", "kind": "while", "condition": "true", "max_iterations": 5000, "body": body}
    assert Play(program([loop])).go().error.error.type == "too-many-steps"


def test_effects_are_known_as_such() -> None:
    assert isinstance(program([effect("a")]).main.nodes[0].does, CompiledEffect)
