"""What goes through CrewAI hidden comes back as it was."""

from __future__ import annotations

import pytest
from crewmesh_agent_crew.turns.verbatim import hide, reveal
from hypothesis import given
from hypothesis import strategies as st

# Far more of the characters that matter than chance would bring.
TEXTS = st.text(st.one_of(st.sampled_from("{}:`\ue000onctew"), st.characters()))


@given(TEXTS)
def test_hiding_is_exact_both_ways(text: str) -> None:
    assert reveal(hide(text)) == text


@given(TEXTS, TEXTS)
def test_hidden_text_may_stand_inside_of_other_text(text: str, around: str) -> None:
    assert reveal(hide(around) + hide(text)) == around + text


@pytest.mark.parametrize("sign", ["{", "}", "```", "Action:", "Final Answer:"])
def test_nothing_of_meaning_stays(sign: str) -> None:
    assert sign not in hide(f"a {sign} b")
