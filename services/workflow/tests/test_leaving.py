"""What nobody wants any more, by the state machine of a run alone: it is given up, whatever it was about to do."""

from __future__ import annotations

from dataclasses import replace

from crewmesh_workflow.engine.steps import Step
from crewmesh_workflow.nodes.base import WaitFor

from services.workflow.tests.test_execution import Play, effect, fails, program


def asks(step: Step) -> Step:
    """On its way it finds out that people have to agree."""
    return replace(step, status="waiting", wait=WaitFor("approval", {"question": "q", "title": "?"}))


def test_nobody_is_asked_for_a_run_that_fails() -> None:
    play = Play(program([effect("bad"), effect("asks")]), {"bad": fails, "asks": asks}).go()
    assert play.error.path == "bad"
    assert play.status() == {"bad": "failed", "asks": "cancelled"}
