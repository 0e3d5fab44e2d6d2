"""What nobody wants any more, by the state machine of a run alone: it is given up, whatever it was about to do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_workflow.engine.steps import Step
from crewmesh_workflow.nodes.base import WaitFor

from services.workflow.tests.test_execution import Play, edge, effect, fails, program


def asks(step: Step) -> Step:
    """On its way it finds out that people have to agree."""
    return replace(step, status="waiting", wait=WaitFor("approval", {"question": "q", "title": "?"}))


def test_nobody_is_asked_for_a_run_that_fails() -> None:
    play = Play(program([effect("bad"), effect("asks")]), {"bad": fails, "asks": asks}).go()
    assert play.error.path == "bad"
    assert play.status() == {"bad": "failed", "asks": "cancelled"}


INNER: JsonObject = {"id": "inner", "kind": "for_each", "items": [1], "body": {"nodes": [effect("e")]}}


@pytest.mark.parametrize("ended_by", ["a round that failed", "a join"])
def test_no_loop_in_a_round_that_is_over_stays_at_work(ended_by: str) -> None:
    body: JsonObject = {"nodes": [effect("bad"), INNER]}
    loop: JsonObject = {"id": "l", "kind": "for_each", "items": [1], "on_item_error": "continue", "body": body}
    nodes: list[JsonValue] = [effect("a"), loop, {"id": "j", "kind": "join", "mode": "any"}]
    if ended_by == "a join":
        play = Play(program(nodes, [edge("a", "j"), edge("l", "j")])).go()
        assert play.status()["l"] == "cancelled"
    else:
        play = Play(program([loop]), {"l[0].bad": fails}).go()
        assert play.status()["l"] == "completed"
    assert play.output == {}
    assert (play.status()["l[0].inner"], play.status()["l[0].inner[0].e"]) == ("cancelled", "cancelled")
