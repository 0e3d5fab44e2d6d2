"""Random workflows come to what their graph says, in whatever order their effects end and wherever a worker crashes."""

from __future__ import annotations

import asyncio
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from services.workflow.tests.graph_reference import Outcome, Reference
from services.workflow.tests.graph_strategies import Case, cases
from services.workflow.tests.graph_worlds import JournalledRun, MemoryRun, compiled


@settings(max_examples=200)
@given(cases(), st.randoms(use_true_random=False))
def test_any_order_of_ends_leads_to_what_the_graph_says(case: Case, dice: Random) -> None:
    assert_same(MemoryRun(compiled(case), case.data, dice).to_its_end(), Reference(case).run())


@settings(max_examples=200)
@given(cases(), st.randoms(use_true_random=False), st.sets(st.integers(1, 20), min_size=1, max_size=6))
def test_crashes_change_nothing(case: Case, dice: Random, crashes: set[int]) -> None:
    assert_same(MemoryRun(compiled(case), case.data, dice, crashes).to_its_end(), Reference(case).run())


@settings(max_examples=200)
@given(
    case=cases(),
    dice=st.randoms(use_true_random=False),
    crashes=st.sets(st.integers(1, 20), max_size=3),
    cancelled_after=st.integers(1, 8),
)
def test_a_run_that_is_cancelled_undoes_what_it_did(
    case: Case, dice: Random, crashes: set[int], cancelled_after: int
) -> None:
    run = MemoryRun(compiled(case), case.data, dice, crashes, cancelled_after)
    outcome = run.to_its_end()
    if outcome.status == "cancelled":
        assert [path for path in run.far.happened if path.endswith("!undo")] == run.to_be_undone()


@settings(max_examples=40)
@given(case=cases(), crashes=st.sets(st.integers(1, 12), max_size=5))
def test_crashes_change_nothing_in_a_real_journal(url: str, case: Case, crashes: set[int]) -> None:
    assert_same(asyncio.run(JournalledRun(case, crashes).to_its_end(url)), Reference(case).run())


def assert_same(outcome: Outcome, expected: Outcome) -> None:
    assert outcome.status == expected.status
    assert outcome.completed == expected.completed
    assert outcome.output == expected.output
    assert sorted(outcome.effects) == sorted(expected.effects)
    assert undone(outcome) == undone(expected)
    if outcome.status == "completed":
        assert top_level(outcome.skipped) == top_level(expected.skipped)


def undone(outcome: Outcome) -> list[str]:
    """Compensations in their order."""
    return [path for path in outcome.effects if path.endswith("!undo")]


def top_level(paths: set[str]) -> set[str]:
    """A round that fails may leave its other nodes skipped or undecided."""
    return {path for path in paths if "[" not in path}
