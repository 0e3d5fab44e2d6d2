"""Nodes that hold a graph, and the one that brings branches together."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import cast

import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.workflow.nodes.base import NODE_KINDS
from crewmesh_contracts.workflow.nodes.join import JoinNode
from crewmesh_workflow import nodes
from crewmesh_workflow.expressions import ExpressionError
from crewmesh_workflow.nodes.base import Each, Meeting, Reader, Repeat, kind

from services.workflow.tests.node_places import does, mistakes, scope


def body(value: JsonValue) -> JsonObject:
    return {
        "nodes": [{"id": "a", "kind": "transform", "output": {"v": value}}],
        "output": {"v": "{{ steps.a.output.v }}"},
    }


class TestForEach:
    @pytest.mark.parametrize(
        ("items", "list_"),
        [
            ("{{ trigger.data.items }}", ["a", "b"]),
            ([1, "{{ trigger.data.n }}", {"x": "{{ vars.total }}"}], [1, 3, {"x": 7}]),
            ([], []),
        ],
    )
    def test_items(self, items: JsonValue, list_: list[JsonValue]) -> None:
        node = does("for_each", Each, items=items, body=body("{{ item }} {{ index }}"))
        assert node.items(scope()) == list_
        assert (node.concurrency, node.keep_going) == (10, False)
        assert list(node.body.by_id) == ["a"]

    @pytest.mark.parametrize(
        ("items", "what"),
        [("n", "a number"), ("name", "a text"), ("none", "null")],
    )
    def test_what_is_no_list(self, items: str, what: str) -> None:
        node = does("for_each", Each, items=f"{{{{ trigger.data.{items} }}}}", body=body(1))
        with pytest.raises(ExpressionError, match=f"items must be a list, but is {what}"):
            node.items(scope())

    def test_too_many(self) -> None:
        node = does("for_each", Each, items="{{ trigger.data.items }}", body=body(1))
        many: list[JsonValue] = [0] * 10_001
        with pytest.raises(ExpressionError, match="10001 items; at most 10000"):
            node.items(scope(trigger={"data": {"items": many}}))

    def test_going_on_after_errors(self) -> None:
        node = does("for_each", Each, items=[1], body=body(1), concurrency=1, on_item_error="continue")
        assert (node.concurrency, node.keep_going) == (1, True)

    def test_mistakes_in_the_body_are_told_with_their_place(self) -> None:
        assert "nodes.n.body.nodes.a.output.v" in mistakes("for_each", items=[1], body=body("{{ last.v }}"))


class TestWhile:
    def test_it_reads_the_round_before(self) -> None:
        node = does("while", Repeat, condition="index == 0 || last.v < 3", body=body("{{ index }}"), max_iterations=5)
        assert node.most == 5
        assert node.condition.evaluate(scope(index=0, last=None))
        assert not node.condition.evaluate(scope(index=1, last={"v": 3}))

    def test_mistakes(self) -> None:
        found = mistakes("while", condition="item == 1", body=body("{{ item }}"))
        assert {"nodes.n.condition", "nodes.n.body.nodes.a.output.v"} <= set(found)


@pytest.mark.parametrize(
    ("members", "needed"),
    [({}, None), ({"mode": "any"}, 1), ({"mode": "count", "count": 2}, 2), ({"mode": "all"}, None)],
)
def test_join(members: JsonObject, needed: int | None) -> None:
    assert does("join", Meeting, **members) == Meeting(needed)


class TestKinds:
    def test_every_kind_of_the_language_does_something(self) -> None:
        files = [import_module(f"{nodes.__name__}.{module.name}") for module in iter_modules(nodes.__path__)]
        described = [file.KIND.node for file in files if hasattr(file, "KIND")]
        assert sorted(described, key=str) == sorted(NODE_KINDS.all().values(), key=str)

    def test_a_kind_can_be_replaced(self) -> None:
        def bind(_: JoinNode, __: Reader) -> Meeting:
            return Meeting(7)

        node = JoinNode(id="n", kind="join")
        nothing_to_read = cast(Reader, object())
        assert nodes.all_kinds().but(kind(JoinNode, bind)).bind(node, nothing_to_read) == Meeting(7)
        assert nodes.all_kinds().bind(node, nothing_to_read) == Meeting(None)
