"""What is handed to agents says whose words it holds: the definition's, those of who started the run, or of anybody."""

from __future__ import annotations

from typing import cast

import pytest
from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.invocations import AgentRequest, KickoffRequest
from crewmesh_workflow.nodes.base import CompiledEffect

from services.workflow.tests.node_places import ROOTS, does, scope

BY_API = cast(JsonObject, ROOTS["trigger"])
EVENT: JsonObject = {"specversion": "1.0", "data": BY_API["data"]}
OF_STRANGERS: list[JsonObject] = [
    *({**BY_API, "kind": kind} for kind in ("workflow", "webhook", "cron", "run_ended")),
    EVENT,
    {**EVENT, "kind": "api"},
]


def asked(trigger: JsonObject = BY_API, **members: str) -> AgentRequest:
    node = does("agent", CompiledEffect, agent="writer", **members)
    return AgentRequest.model_validate(node.render(scope(trigger=trigger)))


def parts(request: AgentRequest) -> list[tuple[str, str]]:
    """What is filled in, as it stands in the task."""
    for each in request.filled_in:
        assert request.task[each.at :].startswith(each.text)
    return [(each.text, each.by) for each in request.filled_in]


class TestAgents:
    @pytest.mark.parametrize(
        ("task", "whole", "filled"),
        [
            ("Write a poem.", "Write a poem.", []),
            ("To {{ trigger.data.name }}!", "To Zoë!", [("Zoë", "start")]),
            ("{{ trigger.data.name }}", "Zoë", [("Zoë", "start")]),
            ("{{ trigger.data.n }} of {{ steps.before.output.x }}", "3 of 1", [("3", "start"), ("1", "steps")]),
            ("{{ vars.total }}", "7", [("7", "steps")]),
            ("{{ trigger.data.name ?? steps.before.output.x }}", "Zoë", [("Zoë", "steps")]),
            ('{"a": {{ steps.before.output.x }}}', '{"a": 1}', [("1", "steps")]),
            ("{{ '{{' }}name}}", "{{name}}", [("{{", "start")]),
        ],
    )  # fmt: skip
    def test_what_does_not_stand_in_the_definition_is_told_apart(
        self, task: str, whole: str, filled: list[tuple[str, str]]
    ) -> None:
        request = asked(task=task)
        assert (request.task, parts(request)) == (whole, filled)

    def test_what_is_expected_is_a_part_of_the_task_where_it_is_filled_in(self) -> None:
        request = asked(task="To {{ trigger.data.name }}.", expected="As {{ steps.before.output.x }}.")
        assert (request.task, request.expected) == ("To Zoë.\n\nAs 1.", "")
        assert parts(request) == [("Zoë", "start"), ("1", "steps")]

    @pytest.mark.parametrize("trigger", OF_STRANGERS)
    def test_what_triggers_bring_may_be_anybodys_whoever_has_the_run_done_again(self, trigger: JsonObject) -> None:
        assert parts(asked(trigger, task="To {{ trigger.data.name }}.")) == [("Zoë", "steps")]


class TestCrews:
    @pytest.mark.parametrize(
        ("trigger", "named"),
        [(BY_API, ["found", "sum"]), *((trigger, ["found", "name", "sum"]) for trigger in OF_STRANGERS)],
    )
    def test_inputs_from_steps_are_named(self, trigger: JsonObject, named: list[str]) -> None:
        inputs: JsonObject = {
            "name": "{{ trigger.data.name }}",
            "tone": "friendly",
            "found": "Of {{ steps.before.output.x }}",
            "sum": "{{ vars.total }}",
        }
        node = does("crew", CompiledEffect, crew="desk", inputs=inputs)
        rendered = node.render(scope(trigger=trigger))
        assert sorted(KickoffRequest.model_validate(rendered).from_steps) == named

    def test_a_request_without_any_is_what_it_was(self) -> None:
        node = does("crew", CompiledEffect, crew="desk", inputs={"tone": "friendly"})
        assert node.render(scope()) == {"crew": "desk", "inputs": {"tone": "friendly"}}
