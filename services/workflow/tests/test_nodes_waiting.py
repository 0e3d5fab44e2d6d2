"""Nodes that wait: what they ask for, and how they go on."""

from __future__ import annotations

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_workflow.expressions import ExpressionError
from crewmesh_workflow.nodes.base import Decided, Refused, WaitFor, Waiting

from services.workflow.tests.node_places import Outside, does, mistakes, place

NOW = "2026-01-01T00:00:00+00:00"
CHILD = "run_" + "3" * 32


class TestDelay:
    @pytest.mark.parametrize(
        ("seconds", "waits"),
        [
            (2.5, 2.5),
            ("90", 90.0),
            ("{{ trigger.data.n }}", 3.0),
            ("{{ trigger.data.n }}0", 30.0),
            (-5, 0.0),
            (366 * 86_400, 366 * 86_400.0),
        ],
    )
    def test_seconds(self, seconds: JsonValue, waits: float) -> None:
        assert does("delay", Waiting, seconds=seconds).render(place()) == WaitFor("timer", seconds=waits)

    @pytest.mark.parametrize(
        ("until", "moment"),
        [
            ("{{ trigger.data.when }}", "2026-03-01T08:00:00+00:00"),
            ("2026-03-01T09:00:00Z", "2026-03-01T09:00:00+00:00"),
            ("2026-03-29T02:30:00.5-05:00", "2026-03-29T07:30:00.500000+00:00"),
        ],
    )
    def test_until(self, until: str, moment: str) -> None:
        assert does("delay", Waiting, until=until).render(place()) == WaitFor("timer", request={"until": moment})

    @pytest.mark.parametrize(
        ("members", "why"),
        [
            ({"seconds": "{{ trigger.data.name }}"}, "must be a number, but is a text"),
            ({"seconds": "{{ trigger.data.items }}"}, "must be a number, but is a list"),
            ({"seconds": "{{ trigger.data.none }}"}, "must be a number, but is null"),
            ({"seconds": "{{ trigger.data }}"}, "must be a number, but is an object"),
            ({"seconds": "nan"}, "must be a number"),
            ({"seconds": "inf"}, "more than 366 days"),
            ({"seconds": 366 * 86_400 + 1}, "more than 366 days"),
            ({"until": "2026-03-01T09:00:00"}, "has no offset"),
            ({"until": "2026-03-01"}, "has no offset"),
            ({"until": "tomorrow"}, "must be an ISO 8601 moment"),
            ({"until": "{{ trigger.data.n }}"}, "but is a number"),
            ({"until": "0001-01-01T00:00:00+14:00"}, "outside the years"),
        ],
    )
    def test_what_is_no_time(self, members: JsonObject, why: str) -> None:
        with pytest.raises(ExpressionError, match=why):
            does("delay", Waiting, **members).render(place())

    def test_its_end(self) -> None:
        assert does("delay", Waiting, seconds=1).over(NOW) == Decided({"until": NOW})


class TestWaitEvent:
    def test_what_is_asked_for(self) -> None:
        node = does(
            "wait_event",
            Waiting,
            type="com.example.paid",
            source="/shop",
            correlation="data.order",
            key="{{ trigger.data.name }}",
            timeout_seconds=60,
        )
        assert node.render(place()) == WaitFor(
            "event",
            request={"source": "/shop", "correlation": "data.order", "filter": None},
            seconds=60,
            event_type="com.example.paid",
            event_key="Zoë",
        )

    def test_a_filter_takes_along_what_it_reads_of_the_run(self) -> None:
        source = "event.data.sum >= steps.before.output.x && vars.total == 7"
        wait = does("wait_event", Waiting, type="com.example.paid", filter=source).render(place())
        assert wait.request["filter"] == source
        assert wait.request["sees"] == {
            "vars": {"total": 7},
            "steps": {"before": {"output": {"x": 1, "big": "y" * 10}}},
        }
        assert (wait.event_key, wait.seconds) == (None, None)

    @pytest.mark.parametrize("name", ["", None])
    def test_a_key_without_value_would_match_anything(self, name: str | None) -> None:
        node = does("wait_event", Waiting, type="com.example.paid", key="{{ trigger.data.name }}")
        with pytest.raises(ExpressionError, match="key has no value"):
            node.render(place(trigger={"data": {"name": name}}))

    def test_its_ends(self) -> None:
        node = does("wait_event", Waiting, type="com.example.paid")
        event: JsonObject = {"type": "com.example.paid", "data": {"sum": 5}}
        assert node.arrived({"event": event}) == Decided({"event": event}, ("out",))
        assert node.over(NOW) == Decided({"event": None}, ("timeout",))

    def test_the_event_can_be_read_in_the_filter_only(self) -> None:
        assert "nodes.n.key" in mistakes("wait_event", type="a", key="{{ event.subject }}")


class TestApproval:
    def test_what_people_are_asked(self) -> None:
        node = does(
            "approval",
            Waiting,
            title="Pay {{ trigger.data.n }}?",
            details="For {{ trigger.data.name }}",
            data={"sum": "{{ trigger.data.n }}"},
            assignees=["role:owner", "user:zoe"],
            quorum=2,
            expires_seconds=3_600,
            escalation={"after_seconds": 60, "to": ["team:ops"]},
        )
        assert node.render(place()) == WaitFor(
            "approval",
            request={
                "title": "Pay 3?",
                "details": "For Zoë",
                "data": {"sum": 3},
                "assignees": ["role:owner", "user:zoe"],
                "quorum": 2,
                "escalation": {"after_seconds": 60.0, "to": ["team:ops"]},
            },
            seconds=3_600,
            escalate_seconds=60,
        )

    def test_everybody_for_ever(self) -> None:
        wait = does("approval", Waiting, title="Go on?").render(place())
        assert (wait.seconds, wait.escalate_seconds) == (None, None)
        assert wait.request == {
            "title": "Go on?", "details": None, "data": None, "assignees": [], "quorum": 1, "escalation": None,
        }  # fmt: skip

    @pytest.mark.parametrize(("approved", "port"), [(True, "approved"), (False, "rejected")])
    def test_decided(self, approved: bool, port: str) -> None:
        data: JsonObject = {
            "approved": approved,
            "data": {"sum": 4},
            "decisions": [{"by": "user:zoe", "approved": approved, "comment": None}],
        }
        assert does("approval", Waiting, title="Pay?").arrived(data) == Decided(data, (port,))

    def test_nobody_decided(self) -> None:
        said = does("approval", Waiting, title="Pay?").over(NOW)
        assert said == Decided({"approved": False, "data": None, "decisions": []}, ("expired",))


class TestInput:
    FORM: JsonObject = {"type": "object", "properties": {"size": {"type": "integer"}}}

    def test_what_is_asked(self) -> None:
        node = does("input", Waiting, title="Size for {{ trigger.data.name }}", form=self.FORM, expires_seconds=5)
        assert node.render(place()) == WaitFor(
            "input",
            request={
                "title": "Size for Zoë", "details": None, "assignees": [], "escalation": None, "form": self.FORM,
            },
            seconds=5,
        )  # fmt: skip

    def test_its_ends(self) -> None:
        node = does("input", Waiting, title="Size", form=self.FORM)
        answer: JsonObject = {"data": {"size": 4}, "by": "user:zoe"}
        assert node.arrived(answer) == Decided(answer, ("out",))
        assert node.over(NOW) == Decided({"data": None, "by": None}, ("expired",))


class TestWorkflow:
    async def test_the_other_run_is_started_with_the_rendered_inputs(self) -> None:
        node = does("workflow", Waiting, workflow="ship-order", inputs={"order": "{{ trigger.data.n }}"})
        wait = node.render(place())
        assert wait == WaitFor("child", request={"workflow": "ship-order", "inputs": {"order": 3}})
        outside = Outside()
        assert node.begin is not None
        await node.begin(wait.request, outside)
        assert outside.children == [("ship-order", {"order": 3})]

    def test_completed(self) -> None:
        child: JsonObject = {"run": CHILD, "status": "completed", "output": {"x": 1}, "error": None}
        said = does("workflow", Waiting, workflow="ship-order").arrived(child)
        assert said == Decided({"run": CHILD, "status": "completed", "output": {"x": 1}}, ("out",))

    @pytest.mark.parametrize(
        ("status", "error", "detail"),
        [
            ("failed", {"type": "x", "detail": "No stock."}, f"The run {CHILD} failed. No stock."),
            ("cancelled", None, f"The run {CHILD} was cancelled."),
        ],
    )
    def test_its_failure_is_ours(self, status: str, error: JsonObject | None, detail: str) -> None:
        child: JsonObject = {"run": CHILD, "status": status, "output": None, "error": error}
        assert does("workflow", Waiting, workflow="ship").arrived(child) == Refused("child-run-failed", detail)

    def test_or_is_handled(self) -> None:
        error: JsonObject = {"type": "x", "detail": "No stock."}
        child: JsonObject = {"run": CHILD, "status": "failed", "output": None, "error": error}
        assert does("workflow", Waiting, workflow="ship", on_error="handle").arrived(child) == Decided(
            child, ("error",)
        )
