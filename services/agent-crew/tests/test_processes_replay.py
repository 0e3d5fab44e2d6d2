"""Every process comes to the same end, wherever it was broken off before, and gives no turn twice."""

from __future__ import annotations

import pytest
from crewmesh_agent_crew.crew_runs.stage import Said, Turn
from crewmesh_agent_crew.crews.models import CrewDefinition
from crewmesh_agent_crew.processes import run_process
from crewmesh_contracts.base import JsonValue

from .scripted_stage import CrashError, ScriptedStage, crew, task


def script(turn: Turn) -> JsonValue:
    """Everybody votes for ben, or for whom they heard last; reviewers want changes once; all else is words."""
    properties = (turn.output_schema or {}).get("properties")
    if not isinstance(properties, dict):
        return f"{turn.agent.name} on {turn.instruction[:40]!r}, having heard {[said.text for said in turn.shown]}"
    if "vote" in properties:
        wavering = turn.agent.name == "cem" and "Better" not in str(turn.shown[0].text)
        return {"vote": "cem" if wavering else "ben"}
    if "verdict" in properties:
        return {"verdict": "approve" if "reviewed" in turn.shown[-1].text else "changes", "comments": "Shorter."}
    return dict.fromkeys(properties, turn.agent.name)


CREWS = [
    crew("sequential", task("one", agent="ada"), task("two", agent="ben", context=["one"])),
    crew(
        "parallel",
        task("one", agent="ada"),
        task("two", agent="ben"),
        task("both", agent="cem", context=["one", "two"]),
        task("three", agent="ada"),
    ),
    crew("hierarchical", task("one", 'use delegate_work {"coworker": "ben", "task": "the half"}'), task("two")),
    crew("consensus", task("one"), task("two", context=["one"]), rounds=2),
    crew("problem-solving", task("one")),
    crew("code-review", task("one", agent="ada")),
    crew("standup", task("one")),
]


@pytest.mark.parametrize("definition", CREWS, ids=lambda definition: definition.process)
async def test_broken_off_after_every_number_of_turns(definition: CrewDefinition) -> None:
    whole = ScriptedStage(definition, script)
    outcome = await run_process(whole)
    turns = len(whole.given)
    assert turns >= 2
    for lives in range(turns):
        journal: dict[str, Said] = {}
        broken = ScriptedStage(definition, script, journal, lives=lives)
        with pytest.raises(CrashError):
            await run_process(broken)
        again = ScriptedStage(definition, script, journal)
        assert await run_process(again) == outcome
        assert len(again.journal) == turns
        # A manager's turn that was broken off is given again, and finds what its coworkers said.
        broken_off = 1 if definition.process == "hierarchical" and lives == 1 else 0
        assert len(broken.given) + len(again.given) == turns + broken_off


@pytest.mark.parametrize("definition", CREWS, ids=lambda definition: definition.process)
async def test_broken_off_again_and_again(definition: CrewDefinition) -> None:
    """A process that lives for two turns at a time gets there all the same."""
    outcome = await run_process(ScriptedStage(definition, script))
    journal: dict[str, Said] = {}
    for _ in range(100):
        stage = ScriptedStage(definition, script, journal, lives=2)
        try:
            result = await run_process(stage)
        except CrashError:
            continue
        assert result == outcome
        return
    pytest.fail("it never came to an end")
