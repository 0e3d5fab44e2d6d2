"""What a rerun from a step, or a fork, takes over from the run before."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow import Definition
from crewmesh_workflow.engine.steps import StepStatus
from crewmesh_workflow.nodes import all_kinds
from crewmesh_workflow.program.compile import compile_program
from crewmesh_workflow.program.model import Program
from crewmesh_workflow.runs.copies import PastStep, copied_steps, steps_before, steps_until, with_variables
from crewmesh_workflow.runs.errors import CannotGoOnFrom, UnknownStep, UnknownVariable
from crewmesh_workflow.runs.places import is_top, is_undo, node_name, top_of


def search(id_: str, **more: JsonValue) -> JsonObject:
    return {"id": id_, "kind": "knowledge.search", "knowledge_base": "kb", "query": "q", **more}


def sets(id_: str) -> JsonObject:
    return {"id": id_, "kind": "set", "variables": {"v": 1}}


def edge(from_: str, to: str, port: str = "out") -> JsonObject:
    return {"from": from_, "port": port, "to": to}


def program(nodes: Sequence[JsonValue], edges: Sequence[JsonValue]) -> Program:
    body: JsonObject = {"name": "w", "nodes": [*nodes], "edges": [*edges]}
    return compile_program(Definition.model_validate(body), all_kinds())


def past(*paths: str | tuple[str, StepStatus]) -> list[PastStep]:
    """Steps that ended in this order; completed where nothing else is said."""
    told: list[tuple[str, StepStatus]] = [(path, "completed") if isinstance(path, str) else path for path in paths]
    return [
        PastStep(
            path=path, position=number, status=status, input={"of": path}, output={"at": number}, finished=number + 2
        )
        for number, (path, status) in enumerate(told)
    ]


def paths(copies: Sequence[PastStep]) -> list[str]:
    return [copy.path for copy in copies]


CHAIN = program([search("a"), search("b"), search("c"), search("d")], [edge("a", "b"), edge("b", "c"), edge("c", "d")])
# a goes to b and c, which meet in d; beside them stands e alone.
DIAMOND = program(
    [search("a"), search("b"), search("c"), search("d"), search("e")],
    [edge("a", "b"), edge("a", "c"), edge("b", "d"), edge("c", "d")],
)
LOOP = program(
    [
        search("a"),
        {
            "id": "loop",
            "kind": "for_each",
            "items": [1, 2],
            "body": {"nodes": [search("x"), sets("y")], "edges": [edge("x", "y")]},
        },
        search("z"),
    ],
    [edge("a", "loop"), edge("loop", "z")],
)
# The first of fast and slow that arrives is enough; slow leads nowhere else.
RACE = program(
    [
        {"id": "both", "kind": "parallel", "branches": ["one", "two"]},
        search("fast"),
        search("slow"),
        {"id": "first", "kind": "join", "mode": "any"},
        search("end"),
    ],
    [
        edge("both", "fast", "one"),
        edge("both", "slow", "two"),
        edge("fast", "first"),
        edge("slow", "first"),
        edge("first", "end"),
    ],
)


class TestRerunFrom:
    @pytest.mark.parametrize(("from_", "kept"), [("a", []), ("b", ["a"]), ("c", ["a", "b"]), ("d", ["a", "b", "c"])])
    def test_what_comes_before_is_kept(self, from_: str, kept: list[str]) -> None:
        assert paths(copied_steps(CHAIN, past("a", "b", "c", "d"), from_)) == kept

    def test_a_failed_step_is_done_again(self) -> None:
        assert paths(copied_steps(CHAIN, past("a", "b", ("c", "failed")), "c")) == ["a", "b"]

    @pytest.mark.parametrize("status", ["failed", "running", "waiting", "cancelled"])
    def test_what_is_not_done_beside_it_is_not_taken_over(self, status: StepStatus) -> None:
        assert paths(copied_steps(DIAMOND, past("a", "b", ("e", status)), "b")) == ["a"]

    def test_the_other_branch_is_kept_and_the_meeting_is_not(self) -> None:
        assert paths(copied_steps(DIAMOND, past("a", "e", "b", "c", "d"), "b")) == ["a", "e", "c"]

    def test_skipped_steps_before_are_kept_and_those_after_are_decided_again(self) -> None:
        steps = past("a", "b", ("c", "skipped"), ("d", "skipped"), "e")
        assert paths(copied_steps(DIAMOND, steps, "b")) == ["a", "c", "e"]

    def test_a_loop_is_kept_with_its_rounds(self) -> None:
        steps = past("a", "loop[0].x", "loop[1].x", "loop[1].y", "loop[0].y", "loop", "z")
        assert paths(copied_steps(LOOP, steps, "z")) == [
            "a", "loop[0].x", "loop[1].x", "loop[1].y", "loop[0].y", "loop",
        ]  # fmt: skip

    @pytest.mark.parametrize("status", ["failed", "completed", "running"])
    def test_a_loop_is_redone_with_its_rounds(self, status: StepStatus) -> None:
        steps = past("a", "loop[0].x", ("loop", status))
        assert paths(copied_steps(LOOP, steps, "loop")) == ["a"]

    def test_what_a_join_did_not_need_stays_cancelled(self) -> None:
        steps = past("both", "fast", ("slow", "cancelled"), "first", "end")
        assert paths(copied_steps(RACE, steps, "end")) == ["both", "fast", "slow", "first"]

    def test_what_failed_when_a_join_did_not_need_it_any_more_stays_failed(self) -> None:
        steps = past("both", "fast", "first", ("slow", "failed"), "end")
        assert paths(copied_steps(RACE, steps, "end")) == ["both", "fast", "first", "slow"]

    def test_what_a_join_that_is_redone_did_not_need_is_redone(self) -> None:
        steps = past("both", "fast", ("slow", "cancelled"), "first", "end")
        assert paths(copied_steps(RACE, steps, "first")) == ["both", "fast"]

    def test_what_a_join_that_is_redone_skipped_is_decided_again(self) -> None:
        steps = past("both", "fast", ("slow", "skipped"), "first", "end")
        assert paths(copied_steps(RACE, steps, "fast")) == ["both"]
        assert paths(copied_steps(RACE, steps, "end")) == ["both", "fast", "slow", "first"]

    def test_the_order_of_ends_is_kept(self) -> None:
        steps = past("e", "a", "c", "b", "d")
        copies = copied_steps(DIAMOND, [*reversed(steps)], "d")
        assert [(copy.path, copy.finished) for copy in copies] == [("e", 1), ("a", 2), ("c", 3), ("b", 4)]

    def test_results_are_taken_over_as_they_are(self) -> None:
        (copy,) = copied_steps(CHAIN, past("a", "b"), "b")
        assert (copy.status, copy.input, copy.output) == ("completed", {"of": "a"}, {"at": 0})


class TestEditedInput:
    def test_the_step_is_begun_with_it(self) -> None:
        edited: JsonObject = {"knowledge_base": "kb", "query": "better"}
        *before, begun = copied_steps(CHAIN, past("a", ("b", "failed")), "b", edited=edited)
        assert paths(before) == ["a"]
        assert (begun.path, begun.status, begun.input) == ("b", "running", edited)
        assert (begun.output, begun.error, begun.finished) == (None, None, None)

    def test_a_step_that_is_decided_where_it_stands_has_none(self) -> None:
        with pytest.raises(CannotGoOnFrom, match="no input to edit"):
            copied_steps(RACE, past("both", "fast", "first"), "first", edited={})


class TestUndone:
    def test_what_was_undone_beside_it_is_done_again_with_what_follows(self) -> None:
        steps = [*past("e", "a", "b", ("c", "failed")), *past("e!undo")]
        assert paths(copied_steps(DIAMOND, steps, "c")) == ["a", "b"]

    def test_one_cannot_begin_behind_what_was_undone(self) -> None:
        steps = [*past("a", "b", ("c", "failed")), *past("b!undo", "a!undo")]
        with pytest.raises(CannotGoOnFrom, match="begin again from a"):
            copied_steps(CHAIN, steps, "c")
        assert copied_steps(CHAIN, steps, "a") == ()

    @pytest.mark.parametrize("status", ["failed", "running", "waiting"])
    def test_what_may_have_been_undone_counts_as_undone(self, status: StepStatus) -> None:
        steps = [*past("a", "b", ("c", "failed")), *past(("a!undo", status))]
        with pytest.raises(CannotGoOnFrom, match="begin again from a"):
            copied_steps(CHAIN, steps, "b")

    def test_a_loop_with_a_round_that_was_undone(self) -> None:
        steps = [*past("a", "loop[0].x", "loop", ("z", "failed")), *past("loop[0].x!undo")]
        with pytest.raises(CannotGoOnFrom, match="begin again from loop"):
            copied_steps(LOOP, steps, "z")

    def test_compensation_and_failure_handler_are_left_behind(self) -> None:
        steps = [*past("a", ("b", "failed")), *past("!failure.tell", ("a!undo", "cancelled"))]
        assert paths(copied_steps(CHAIN, steps, "b")) == ["a"]


class TestRefused:
    @pytest.mark.parametrize(
        ("from_", "why"),
        [
            ("loop[0].x", "name the loop, loop"),
            ("a!undo", "undid a step"),
            ("!failure.a", "handled the failure"),
            ("loop[0].x!undo", "undid a step"),
        ],
    )
    def test_places_that_one_cannot_begin_at(self, from_: str, why: str) -> None:
        with pytest.raises(CannotGoOnFrom, match=why):
            copied_steps(LOOP, past("a", "loop[0].x", "loop"), from_)

    def test_a_step_that_does_not_exist(self) -> None:
        with pytest.raises(UnknownStep):
            copied_steps(CHAIN, past("a"), "nowhere")

    def test_a_step_that_was_not_reached(self) -> None:
        with pytest.raises(CannotGoOnFrom, match="did not get there"):
            copied_steps(CHAIN, past("a", ("b", "failed")), "c")

    def test_a_step_that_was_skipped(self) -> None:
        with pytest.raises(CannotGoOnFrom, match="skipped"):
            copied_steps(CHAIN, past("a", ("b", "skipped")), "b")


class TestFork:
    @pytest.mark.parametrize("ended", [[], ["a"], ["a", "b"], ["a", "b", "c", "d"]])
    def test_at_a_moment(self, ended: list[str]) -> None:
        assert paths(steps_until(CHAIN, past("a", "b", "c", "d"), ended, old=CHAIN)) == ended

    def test_a_loop_that_had_not_ended_by_then_begins_anew(self) -> None:
        steps = past("a", "loop[0].x", "loop[0].y", "loop[1].x", "loop[1].y", "loop", "z")
        assert paths(steps_until(LOOP, steps, ["a", "loop[0].x", "loop[0].y"], old=LOOP)) == ["a"]
        assert len(steps_until(LOOP, steps, ["a", "loop"], old=LOOP)) == 6

    def test_before_a_step(self) -> None:
        assert paths(steps_before(DIAMOND, past("a", "b", "c", "d", "e"), "b", old=DIAMOND)) == ["a", "c", "e"]

    def test_what_was_undone_is_done_again(self) -> None:
        steps = [*past("a", "b", ("c", "failed")), *past("b!undo")]
        assert paths(steps_before(CHAIN, steps, "c", old=CHAIN)) == ["a"]


class TestVariables:
    STEPS = [
        PastStep("loop[0].y", 1, "completed", output={"v": 1, "w": 1}, finished=2),
        PastStep("loop[1].y", 1, "completed", output={"v": 2}, finished=1),
        PastStep("z", 2, "completed", output={"v": "no variable"}, finished=3),
    ]

    def test_the_step_that_set_it_last_gives_it(self) -> None:
        changed = with_variables(LOOP, self.STEPS, {"v": 9})
        assert [step.output for step in changed] == [{"v": 9, "w": 1}, {"v": 2}, {"v": "no variable"}]

    def test_two_of_one_step(self) -> None:
        changed = with_variables(LOOP, self.STEPS, {"v": 9, "w": None})
        assert changed[0].output == {"v": 9, "w": None}

    def test_one_that_nothing_sets(self) -> None:
        with pytest.raises(UnknownVariable, match="sets the variable x"):
            with_variables(LOOP, self.STEPS, {"x": 1})


class TestForkToAnotherVersion:
    def fork(self, new: Program, old: Program = CHAIN, from_: str = "d") -> list[str]:
        return paths(steps_before(new, past("a", "b", "c", "d"), from_, old=old))

    def test_steps_that_are_the_same_are_kept(self) -> None:
        new = program([search("a", name="other words"), search("b")], [edge("a", "b")])
        assert self.fork(new) == ["a", "b"]

    def test_a_step_of_another_kind_is_redone_with_what_follows(self) -> None:
        new = program([search("a"), sets("b"), search("c")], [edge("a", "b"), edge("b", "c")])
        assert self.fork(new) == ["a"]

    def test_a_step_with_another_way_to_it_is_redone(self) -> None:
        new = program([search("a"), search("n"), search("b")], [edge("a", "n"), edge("n", "b")])
        assert self.fork(new) == ["a"]

    def test_a_step_that_is_gone_is_left_behind(self) -> None:
        new = program([search("a"), search("c")], [edge("a", "c")])
        assert self.fork(new) == ["a"]

    def test_a_loop_with_another_body_is_redone(self) -> None:
        body: JsonObject = {"nodes": [search("w"), sets("y")], "edges": [edge("w", "y")]}
        new = program(
            [search("a"), {"id": "loop", "kind": "for_each", "items": [1, 2], "body": body}, search("z")],
            [edge("a", "loop"), edge("loop", "z")],
        )
        steps = past("a", "loop[0].x", "loop[0].y", "loop", "z")
        assert paths(steps_before(new, steps, "z", old=LOOP)) == ["a"]


class TestPlaces:
    @pytest.mark.parametrize(
        ("path", "top", "name"),
        [
            ("a", "a", "a"),
            ("loop[3].a", "loop", "a"),
            ("l[3].m[0].a", "l", "a"),
            ("a!undo", "a", "a"),
            ("l[1].a!undo", "l", "a"),
            ("!failure.a", "", "a"),
        ],
    )
    def test_read(self, path: str, top: str, name: str) -> None:
        assert (top_of(path), node_name(path)) == (top, name)
        assert is_top(path) is (path == "a")
        assert is_undo(path) is path.endswith("!undo")
