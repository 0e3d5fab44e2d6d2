"""What is decided: changed proposals, forms, what came of a step, and what is no decision."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

import pytest
from crewmesh_contracts.base import JsonObject
from crewmesh_testkit.identities import auth_headers

from services.workflow.tests.approvals import (
    ANN,
    BOB,
    CLEO,
    Desk,
    open_desk,
)

YES: JsonObject = {"approved": True}
NO: JsonObject = {"approved": False}


@pytest.fixture(scope="module")
def desk_url(database_url: Callable[[str], str]) -> str:
    return database_url("workflow")


@pytest.fixture
async def desk(desk_url: str) -> AsyncGenerator[Desk]:
    async with open_desk(desk_url) as opened:
        yield opened


class TestEditAndApprove:
    async def test_the_change_is_what_is_approved(self, desk: Desk) -> None:
        question = await desk.ask(data={"amount": 120})
        answer = await desk.decide(question, ANN, {"approved": True, "data": {"amount": 100}})
        assert (answer.json()["data"], answer.json()["proposal"]) == ({"amount": 100}, 2)
        [arrived] = await desk.arrived(question)
        assert arrived["data"] == {"amount": 100}

    async def test_a_change_makes_earlier_agreement_void(self, desk: Desk) -> None:
        question = await desk.ask(data={"amount": 120}, quorum=2)
        await desk.decide(question, ANN, YES)
        changed = (await desk.decide(question, BOB, {"approved": True, "data": {"amount": 100}})).json()
        assert (changed["status"], changed["proposal"], changed["data"]) == ("open", 2, {"amount": 100})
        assert [(each["by"], each["void"]) for each in changed["decisions"]] == [("ann", True), ("bob", False)]
        # Whoever agreed to what was there before may agree to what is there now.
        agreed = await desk.decide(question, ANN, {"approved": True, "proposal": 2})
        assert agreed.json()["verdict"] == "approved"
        [arrived] = await desk.arrived(question)
        assert arrived["data"] == {"amount": 100}
        assert arrived["decisions"] == [
            {"by": "bob", "approved": True, "comment": None},
            {"by": "ann", "approved": True, "comment": None},
        ]

    async def test_nobody_agrees_to_what_they_have_not_seen(self, desk: Desk) -> None:
        question = await desk.ask(data={"amount": 120}, quorum=2)
        await desk.decide(question, BOB, {"approved": True, "data": {"amount": 1}})
        refused = await desk.decide(question, CLEO, YES)
        assert refused.status_code == 409
        assert refused.json()["type"].endswith("/proposal-changed")
        assert refused.json()["proposal"] == 2
        ahead = await desk.decide(question, CLEO, {"approved": True, "proposal": 3})
        assert ahead.json()["type"].endswith("/proposal-changed")
        # A no needs no proposal: it refuses whatever it is.
        assert (await desk.decide(question, CLEO, NO)).json()["verdict"] == "rejected"

    async def test_a_repeated_change_is_one_change(self, desk: Desk) -> None:
        question = await desk.ask(data={"amount": 120}, quorum=2)
        for _ in range(2):
            answer = await desk.decide(question, ANN, {"approved": True, "data": {"amount": 100}})
            assert (answer.status_code, answer.json()["proposal"]) == (200, 2)

    async def test_data_that_change_nothing_are_no_change(self, desk: Desk) -> None:
        question = await desk.ask(data={"a": 1, "b": [True]}, quorum=2)
        same = (await desk.decide(question, ANN, {"approved": True, "data": {"b": [True], "a": 1}})).json()
        assert same["proposal"] == 1
        other = (await desk.decide(question, BOB, {"approved": True, "data": {"a": 1, "b": [1]}})).json()
        assert other["proposal"] == 2, "true is not 1"

    async def test_the_input_of_a_step_stays_an_object(self, desk: Desk) -> None:
        question = await desk.ask(node="pay", kind="action", input={"amount": 120})
        shown = await desk.read(question)
        assert (shown["data"], shown["about"]) == ({"amount": 120}, {"node": "pay", "kind": "action"})
        refused = await desk.decide(question, ANN, {"approved": True, "data": "everything"})
        assert refused.status_code == 422
        assert refused.json()["errors"][0]["path"] == "data"
        await desk.decide(question, ANN, {"approved": True, "data": {"amount": 1}})
        [arrived] = await desk.arrived(question)
        assert (arrived["approved"], arrived["data"]) == (True, {"amount": 1})

    async def test_a_step_that_is_approved_as_it_is_keeps_its_input(self, desk: Desk) -> None:
        question = await desk.ask(node="pay", kind="action", input={"amount": 120})
        await desk.decide(question, ANN, YES)
        [arrived] = await desk.arrived(question)
        assert arrived["data"] == {"amount": 120}


FORM: JsonObject = {
    "type": "object",
    "properties": {"name": {"type": "string", "minLength": 1}, "age": {"type": "integer", "minimum": 18}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


class TestForms:
    async def test_an_answer_as_the_form_wants_it(self, desk: Desk) -> None:
        question = await desk.ask("input", form=FORM)
        assert (await desk.read(question))["form"] == FORM
        answer = await desk.decide(question, ANN, {"data": {"name": "Ann", "age": 40}})
        assert answer.json()["verdict"] == "answered"
        assert await desk.arrived(question) == [{"data": {"name": "Ann", "age": 40}, "by": "ann"}]

    async def test_every_mistake_is_named(self, desk: Desk) -> None:
        question = await desk.ask("input", form=FORM)
        refused = await desk.decide(question, ANN, {"data": {"name": "", "age": 4, "shoe": 9}})
        assert refused.status_code == 422
        assert sorted(error["path"] for error in refused.json()["errors"]) == ["data", "data.age", "data.name"]
        assert await desk.arrived(question) == []
        assert (await desk.decide(question, ANN, {"data": {"name": "A", "age": 18}})).status_code == 200

    @pytest.mark.parametrize(
        ("sent", "filled"),
        [
            ({}, {"laptop": "small", "n": None}),
            ({"laptop": "none", "home": {}}, {"laptop": "none", "n": None, "home": {"floor": 0}}),
            ({"n": 1, "home": {"floor": 2}}, {"laptop": "small", "n": 1, "home": {"floor": 2}}),
        ],
    )
    async def test_what_is_left_out_is_the_default(self, desk: Desk, sent: JsonObject, filled: JsonObject) -> None:
        form: JsonObject = {
            "type": "object",
            "required": ["laptop"],
            "properties": {
                "laptop": {"enum": ["none", "small"], "default": "small"},
                "n": {"type": ["integer", "null"], "default": None},
                "home": {"type": "object", "required": ["floor"], "properties": {"floor": {"default": 0}}},
                "any": True,
            },
        }
        question = await desk.ask("input", form=form)
        for _ in range(2):
            assert (await desk.decide(question, ANN, {"data": sent})).status_code == 200
        assert await desk.arrived(question) == [{"data": filled, "by": "ann"}]

    async def test_a_default_that_the_form_itself_refuses(self, desk: Desk) -> None:
        form: JsonObject = {"type": "object", "properties": {"n": {"type": "integer", "default": "none"}}}
        question = await desk.ask("input", form=form)
        assert (await desk.decide(question, ANN, {"data": {}})).status_code == 200
        assert await desk.arrived(question) == [{"data": {}, "by": "ann"}]

    async def test_the_first_answer_counts(self, desk: Desk) -> None:
        question = await desk.ask("input", form=FORM)
        await desk.decide(question, ANN, {"data": {"name": "Ann", "age": 40}})
        late = await desk.decide(question, BOB, {"data": {"name": "Bob", "age": 41}})
        assert (late.status_code, late.json()["verdict"]) == (409, "answered")

    async def test_a_pattern_that_takes_forever_elsewhere(self, desk: Desk) -> None:
        form: JsonObject = {"type": "object", "properties": {"x": {"type": "string", "pattern": "^(a+)+$"}}}
        question = await desk.ask("input", form=form)
        refused = await desk.decide(question, ANN, {"data": {"x": "a" * 5_000 + "!"}})
        assert refused.status_code == 422
        assert len(refused.json()["errors"][0]["message"]) <= 300

    @pytest.mark.parametrize("form", [{"$ref": "https://example.com/schema.json"}, {"type": "thing"}])
    async def test_a_form_that_is_wrong_says_so(self, desk: Desk, form: JsonObject) -> None:
        question = await desk.ask("input", form=form)
        refused = await desk.decide(question, ANN, {"data": {}})
        assert refused.status_code == 422
        assert "the form itself is wrong" in refused.json()["detail"]


class TestUnknownOutcomes:
    @pytest.mark.parametrize(
        ("body", "verdict", "arrives"),
        [
            ({"happened": True, "output": {"id": 7}}, "happened", {"happened": True, "output": {"id": 7}}),
            ({"happened": True}, "happened", {"happened": True, "output": {}}),
            ({"happened": False}, "not_happened", {"happened": False, "output": None}),
            ({"fail": True, "comment": "lost"}, "failed", {"fail": True}),
        ],
    )
    async def test_what_came_of_a_step(self, desk: Desk, body: JsonObject, verdict: str, arrives: JsonObject) -> None:
        question = await desk.ask("outcome", node="pay", action="bank.transfer")
        answer = await desk.decide(question, ANN, body)
        assert answer.json()["verdict"] == verdict
        assert answer.json()["about"] == {"node": "pay", "action": "bank.transfer"}
        assert await desk.arrived(question) == [{**arrives, "by": "ann", "comment": body.get("comment")}]
        assert (await desk.decide(question, ANN, body)).status_code == 200


@pytest.mark.parametrize(
    ("kind", "body", "path"),
    [
        ("approval", {}, "approved"),
        ("approval", {"happened": True}, "happened"),
        ("approval", {"approved": False, "data": 1}, "data"),
        ("approval", {"approved": "perhaps"}, "body.approved"),
        ("approval", {"approved": True, "aproved": False}, "body.aproved"),
        ("input", {}, "data"),
        ("input", {"approved": True}, "approved"),
        ("outcome", {}, "happened"),
        ("outcome", {"happened": True, "fail": True}, "happened"),
        ("outcome", {"happened": False, "output": {}}, "output"),
        ("outcome", {"happened": True, "output": [1]}, "body.output"),
        ("outcome", {"approved": True}, "approved"),
    ],
)
async def test_a_decision_of_another_kind(desk: Desk, kind: str, body: JsonObject, path: str) -> None:
    question = await desk.ask(kind, form={"type": "object"})
    refused = await desk.decide(question, ANN, body)
    assert refused.status_code == 422
    assert path in [error["path"] for error in refused.json()["errors"]]
    assert await desk.decisions(question) == []


@pytest.mark.parametrize("value", [rb'"\u0000"', rb'"\ud800"', b"NaN", b"Infinity", b"1e999"])
async def test_what_cannot_be_stored_is_refused(desk: Desk, value: bytes) -> None:
    question = await desk.ask()
    headers = {**auth_headers(ANN, audience="workflow"), "content-type": "application/json"}
    for body in (b'{"approved": true, "comment": %b}', b'{"approved": true, "data": {"a": %b}}'):
        for path in (f"/v1/approvals/{question}/decisions", await desk.link(question, ANN, **{"for": "user:ann"})):
            refused = await desk.client.post(path, content=body % value, headers=headers)
            assert refused.status_code in (400, 422), refused.text
    assert (await desk.read(question))["status"] == "open"
