"""What makes a crew's definition hold together, and how its placeholders are filled in."""

from __future__ import annotations

import pytest
from crewmesh_agent_crew.crew_runs.asking import checked_inputs
from crewmesh_agent_crew.crews.models import CrewDefinition, Task, name_of
from crewmesh_agent_crew.crews.shipped import starter_crews
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_kit.errors import ValidationFailed
from pydantic import ValidationError


def definition(**changes: JsonValue) -> JsonObject:
    task: JsonObject = {"name": "tell", "agent": "teller", "description": "Tell {what}.", "expected_output": "Words."}
    whole: JsonObject = {
        "name": "tellers",
        "agents": [{"name": "teller", "role": "teller", "goal": "tell"}],
        "tasks": [task],
        "inputs": [{"name": "what"}],
    }
    return {**whole, **changes}


def task(description: str) -> Task:
    return Task(name="t", agent="a", description=description, expected_output="x")


def test_the_starter_crew_has_two_agents_and_the_second_sees_what_the_first_found() -> None:
    (crew,) = starter_crews()
    assert crew.name == "answer-desk"
    assert [name_of(agent) for agent in crew.agents] == ["researcher", "writer"]
    assert crew.tasks[1].context == ("research",)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"agents": []}, "at least 1 item"),
        (
            {"tasks": [{"name": "t", "agent": "nobody", "description": "d", "expected_output": "e"}]},
            "no agent 'nobody'",
        ),
        ({"inputs": []}, "{what} is no declared input"),
        ({"inputs": [{"name": "what"}, {"name": "what"}]}, "input 'what' is there twice"),
        ({"process": "hierarchical"}, "needs 2 agents or more"),
        ({"name": "../etc"}, "pattern"),
        ({"description": "a\0b"}, "pattern"),
        ({"surprise": 1}, "Extra inputs"),
        (
            {"tasks": [{"name": "t", "agent": "teller", "description": "d", "expected_output": "e", "context": ["t"]}]},
            "context 't' is no earlier task",
        ),
    ],
)
def test_what_does_not_hold_together_is_refused(changes: JsonObject, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        CrewDefinition.model_validate(definition(**changes))


@pytest.mark.parametrize(
    ("description", "filled"),
    [
        ("Tell {what}.", "Tell VALUE."),
        ("{what}{what}", "VALUEVALUE"),
        ("{{what}} and {{7*7}} and {0} and {a.b} and {}", "{{what}} and {{7*7}} and {0} and {a.b} and {}"),
    ],
)
def test_only_placeholders_are_filled_in(description: str, filled: str) -> None:
    assert task(description).described({"what": "VALUE"}) == filled


def test_a_value_is_never_read_as_a_placeholder() -> None:
    values = {"one": "{two} {{7*7}} %s {0.__class__} \\g<0> \\1", "two": "secret"}
    assert task("{one}").described(values) == values["one"]


def test_inputs_are_checked_by_name_and_cut_to_what_the_crew_reads() -> None:
    crew = CrewDefinition.model_validate(
        definition(inputs=[{"name": "what", "most_characters": 3}, {"name": "more", "required": False}])
    )
    assert checked_inputs(crew, {"what": "12345"}) == {"what": "123", "more": ""}
    with pytest.raises(ValidationFailed, match="'what' is missing"):
        checked_inputs(crew, {})
    with pytest.raises(ValidationFailed, match="'__class__' is no input"):
        checked_inputs(crew, {"what": "x", "__class__": "x"})
    with pytest.raises(ValidationFailed, match="NUL"):
        checked_inputs(crew, {"what": "a\0b"})
