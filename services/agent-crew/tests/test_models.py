"""Asking a model over HTTP: every task, on servers that can be forced to JSON and on those that cannot."""

from __future__ import annotations

import asyncio
import json

import httpx2
import pytest
from crewmesh_contracts.base import JsonObject, JsonValue
from crewmesh_contracts.invocations import ModelAnswer
from crewmesh_kit.ids import new_id
from crewmesh_testkit.openai_fake import ChatRequest

from .harness import Running, until
from .passing_time import pass_time

INVOICE: JsonObject = {
    "type": "object",
    "properties": {"number": {"type": "string"}, "total": {"type": "number", "minimum": 0}},
    "required": ["number", "total"],
    "additionalProperties": False,
}
FOUND = '{"number": "R-17", "total": 12.5}'


@pytest.fixture(autouse=True)
def valkey_may_be_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that is kept there is worth waiting for here."""
    for limit in ("_CONNECT_SECONDS", "_ANSWER_SECONDS"):
        monkeypatch.setattr(f"crewmesh_agent_crew.routing.valkey.{limit}", 60.0)


def answer_of(response: httpx2.Response) -> ModelAnswer:
    assert response.status_code == 200, response.text
    return ModelAnswer.model_validate(response.json())


def slug_of(response: httpx2.Response) -> tuple[int, str, bool]:
    problem = response.json()
    return response.status_code, problem["type"].rsplit("/")[-1], problem["retryable"]


def format_of(request: ChatRequest) -> str | None:
    extra = request.model_extra or {}
    return extra["response_format"]["type"] if "response_format" in extra else None


class TestTasks:
    async def test_an_equal_question_is_answered_again_where_that_will_do(self, service: Running) -> None:
        service.model.answers("Twelve.", "Thirteen.", "Fourteen.")
        question = f"Four bottles in {new_id('x')}?"
        first = answer_of(await service.ask(prompt=question, temperature=0.0, reuse=True))
        again = answer_of(await service.ask(prompt=question, temperature=0.0, reuse=True))
        assert again.text == first.text == "Twelve."
        assert answer_of(await service.ask(prompt=question, temperature=0.0)).text == "Thirteen.", (
            "nobody said that it would do"
        )
        assert len(service.model.requests) == 2

    async def test_a_chat_goes_on_from_what_was_said(self, service: Running) -> None:
        service.model.answers("Twelve.")
        said: list[JsonValue] = [
            {"role": "user", "content": "I have three crates."},
            {"role": "assistant", "content": "Noted."},
        ]
        response = await service.ask(
            prompt="Four bottles each?", system="Be brief.", messages=said, temperature=0.5, max_tokens=33
        )
        answer = answer_of(response)
        assert (answer.text, answer.label, answer.data) == ("Twelve.", None, None)
        assert answer.usage.model_dump() == {
            "model": "fake",
            "requests": 1,
            "prompt_tokens": 10,
            "completion_tokens": 1,
            "cached_tokens": 0,
            "cost": "0",
        }
        (asked,) = service.model.requests
        assert [(message.role, message.content) for message in asked.messages] == [
            ("system", "Be brief."),
            ("user", "I have three crates."),
            ("assistant", "Noted."),
            ("user", "Four bottles each?"),
        ]
        assert (asked.temperature, asked.max_tokens, format_of(asked)) == (0.5, 33, None)

    async def test_a_summary(self, service: Running) -> None:
        service.model.answers("Short.")
        assert answer_of(await service.ask(task="summarize", prompt="Long story.")).text == "Short."
        assert service.model.requests[0].prompt.endswith("Long story.")

    @pytest.mark.parametrize(
        "said", ['{"label": "bug"}', "bug", ' "Bug". ', '```json\n{"label": "bug"}\n```', 'It is {"label": "bug"}.']
    )
    async def test_a_label_is_one_of_those_given(self, service: Running, said: str) -> None:
        service.model.answers(said)
        answer = answer_of(await service.ask(task="classify", prompt="It crashes.", labels=["bug", "wish"]))
        assert (answer.label, answer.text) == ("bug", said.strip())
        (asked,) = service.model.requests
        assert format_of(asked) == "json_schema"
        assert "It crashes." in asked.prompt

    async def test_data_follows_the_schema(self, service: Running) -> None:
        service.model.answers(FOUND)
        answer = answer_of(await service.ask(task="extract", prompt="Invoice R-17 over 12.50", output_schema=INVOICE))
        assert answer.data == {"number": "R-17", "total": 12.5}
        (asked,) = service.model.requests
        sent = (asked.model_extra or {})["response_format"]["json_schema"]
        assert (sent["schema"], sent["strict"]) == (INVOICE, True)

    async def test_an_alias_is_another_model(self, service: Running) -> None:
        assert answer_of(await service.ask(prompt="Hello", model="fast")).usage.model == "fake-mini"
        assert service.model.requests[0].model == "fake-mini"


class TestAnswersThatCannotBeUsed:
    @pytest.mark.parametrize(
        ("first", "reason"),
        [
            ("I see no invoice.", "must be JSON"),
            ('{"number": "R-17"', "must be JSON"),
            ('{"number": "R-17", "total": NaN}', "must be JSON"),
            ('{"number": "R-17", "total": 1e999}', "must be JSON"),
            ('{"number": "R-17", "total": -1}', "-1 is less than the minimum"),
            ('{"number": 17, "total": 1}', "17 is not of type"),
        ],
    )
    async def test_the_model_is_told_why_and_asked_once_more(self, service: Running, first: str, reason: str) -> None:
        service.model.answers(first, FOUND)
        answer = answer_of(await service.ask(task="extract", prompt="x", output_schema=INVOICE))
        assert (answer.data, answer.text) == (json.loads(FOUND), FOUND)
        assert answer.usage.requests == 2
        _, again = service.model.requests
        assert [message.role for message in again.messages] == ["user", "assistant", "user"]
        assert again.messages[1].content == first
        assert reason in again.messages[2].content

    async def test_after_the_second_it_is_a_problem_that_stays(self, service: Running) -> None:
        service.model.answers("perhaps", "maybe", '{"label": "bug"}')
        key = new_id("test")
        for _ in range(2):
            response = await service.ask(key=key, task="classify", prompt="x", labels=["bug", "wish"])
            assert slug_of(response) == (502, "model-answer-unusable", False)
            assert response.json()["said"] == "maybe"
            assert response.json()["usage"]["requests"] == 2
        assert len(service.model.requests) == 2

    async def test_what_cannot_be_stored_is_seen_to_be_missing(self, service: Running) -> None:
        service.model.answers('{"number": "a\\u0000b", "total": 1}')
        answer = answer_of(await service.ask(task="extract", prompt="x", output_schema=INVOICE))
        assert answer.data == {"number": "a\ufffdb", "total": 1}


class TestServersThatCannotBeForced:
    async def test_a_format_that_is_refused_is_replaced_by_the_next(self, service: Running) -> None:
        service.model.fails(400, times=2)
        service.model.answers(FOUND)
        answer = answer_of(await service.ask(task="extract", prompt="x", output_schema=INVOICE))
        assert answer.data == json.loads(FOUND)
        assert [format_of(asked) for asked in service.model.requests] == ["json_schema", "json_object", None]

    async def test_a_request_that_is_refused_in_every_format_is_refused(self, service: Running) -> None:
        service.model.fails(400, times=3)
        response = await service.ask(task="extract", prompt="x", output_schema=INVOICE)
        assert slug_of(response) == (502, "model-refused", False)


class TestServersInTrouble:
    async def test_busy_is_waited_for_as_it_says(self, service: Running) -> None:
        service.model.fails(429, times=2, retry_after="0")
        assert answer_of(await service.ask(prompt="x")).usage.requests == 1
        assert len(service.model.requests) == 3

    async def test_busy_for_too_long_is_told_with_the_time_to_wait(self, service: Running) -> None:
        service.model.fails(429, times=2, retry_after="0")
        service.model.fails(429, retry_after="33")
        response = await service.ask(prompt="x")
        assert slug_of(response) == (429, "model-rate-limited", True)
        assert response.headers["retry-after"] == "33"

    async def test_an_answer_that_is_cut_off_is_asked_for_again(self, service: Running) -> None:
        service.model.cuts(times=2)
        service.model.answers("whole")
        assert answer_of(await service.ask(prompt="x")).text == "whole"
        assert len(service.model.requests) == 3

    async def test_a_server_that_only_ever_cuts_off(self, service: Running) -> None:
        service.model.cuts(times=3)
        key = new_id("test")
        assert slug_of(await service.ask(key=key, prompt="x")) == (503, "model-unavailable", True)
        assert answer_of(await service.ask(key=key, prompt="x")).text == "ok"

    async def test_a_server_that_hangs(self, service: Running) -> None:
        service.model.hangs()
        asking = asyncio.create_task(service.ask(prompt="x", timeout_seconds=60))
        await until(lambda: len(service.model.requests) == 1)
        pass_time(61)
        assert slug_of(await asking) == (504, "model-timeout", True)
        await until(lambda: service.model.abandoned == 1)

    async def test_both_questions_share_the_time(self, service: Running) -> None:
        def slow(_: ChatRequest) -> str:
            pass_time(40)
            service.model.delay = 50
            return "unusable"

        service.model.answers(slow)
        question = service.ask(task="extract", prompt="x", output_schema=INVOICE, timeout_seconds=60)
        asking = asyncio.create_task(question)
        await until(lambda: len(service.model.requests) == 2, seconds=120)
        pass_time(25)
        assert slug_of(await asking) == (504, "model-timeout", True)
        assert len(service.model.requests) == 2

    async def test_nonsense_is_final(self, service: Running) -> None:
        service.model.fails(200, body=b"<html>")
        assert slug_of(await service.ask(prompt="x")) == (502, "model-refused", False)


class TestOncePerKey:
    async def test_a_repeated_call_pays_nothing(self, service: Running) -> None:
        key = new_id("test")
        answers = [await service.ask(key=key, prompt="x") for _ in range(3)]
        assert answers[0].json() == answers[1].json() == answers[2].json()
        assert len(service.model.requests) == 1

    async def test_many_at_once_ask_once(self, service: Running) -> None:
        service.model.delay = 0.1
        key = new_id("test")
        answers = await asyncio.gather(*(service.ask(key=key, prompt="x") for _ in range(30)))
        assert {answer.status_code for answer in answers} == {200}
        assert len(service.model.requests) == 1

    async def test_another_question_under_the_key_is_refused(self, service: Running) -> None:
        key = new_id("test")
        await service.ask(key=key, prompt="x")
        assert slug_of(await service.ask(key=key, prompt="y"))[1] == "idempotency-key-reused"

    async def test_a_caller_that_leaves_does_not_stop_it(self, service: Running) -> None:
        service.model.delay = 0.3
        key = new_id("test")
        caller = asyncio.create_task(service.ask(key=key, prompt="x"))
        await until(lambda: bool(service.model.requests))
        caller.cancel()
        assert answer_of(await service.ask(key=key, prompt="x")).text == "ok"
        assert (len(service.model.requests), service.model.abandoned) == (1, 0)


class TestRefusals:
    @pytest.mark.parametrize(
        ("request_", "field"),
        [
            ({"task": "classify", "labels": ["one"]}, "labels"),
            ({"task": "classify", "labels": ["one", "one"]}, "labels"),
            ({"task": "classify", "labels": ["one", " "]}, "labels"),
            ({"task": "classify", "labels": ["one", "t\0wo"]}, "labels"),
            ({"task": "extract"}, "output_schema"),
            ({"task": "extract", "output_schema": {"type": "nope"}}, "output_schema"),
            ({"task": "extract", "output_schema": {"pattern": "("}}, "output_schema"),
            ({"task": "extract", "output_schema": {"$ref": "http://169.254.169.254/x"}}, "output_schema"),
            ({"task": "extract", "output_schema": {"$ref": "file:///etc/passwd"}}, "output_schema"),
            ({"task": "extract", "output_schema": {"description": "x" * 60_000}}, "output_schema"),
            ({"task": "translate"}, "task"),
            ({"temperature": 9}, "temperature"),
        ],
    )
    async def test_what_cannot_be_asked(self, service: Running, request_: JsonObject, field: str) -> None:
        body = {"prompt": "x", **request_}
        response = await service.post("/internal/model", body, key=new_id("test"))
        assert response.status_code == 422, response.text
        assert [error["path"].split(".")[1] for error in response.json()["errors"]] == [field]
        assert service.model.requests == []

    async def test_a_model_that_nobody_set_up(self, service: Running) -> None:
        response = await service.ask(prompt="x", model="gpt-99")
        assert slug_of(response) == (404, "unknown-model", False)
        assert "default, fake, fake-mini, fast" in response.json()["detail"]

    async def test_without_a_key_or_the_permission(self, service: Running) -> None:
        assert (await service.post("/internal/model", {"prompt": "x"})).status_code == 400
        nobody = service.who("crews:run")
        assert (await service.post("/internal/model", {"prompt": "x"}, key="k", who=nobody)).status_code == 403

    async def test_a_schema_that_is_endless_work_is_given_up(self, service: Running) -> None:
        doubled: JsonObject = {
            f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}, {"$ref": f"#/$defs/a{n + 1}"}]} for n in range(28)
        }
        schema: JsonObject = {"$ref": "#/$defs/a0", "$defs": {**doubled, "a28": {"type": "integer"}}}
        service.model.answers("1")
        response = await service.ask(task="extract", prompt="x", output_schema=schema)
        assert response.status_code == 422
        assert "takes too long" in response.json()["detail"]


async def test_it_is_charged_to_the_step_it_is_for_and_to_whoever_started_the_run(service: Running) -> None:
    payer: JsonObject = {
        "workflow": "wf_1",
        "run": "run_1",
        "step": "ask[2]",
        "started_by": "usr_1",
        "teams": ["team_1"],
    }
    await service.ask(prompt="x", payer=payer)
    async with service.database.tenant(service.organization) as connection:
        cursor = await connection.execute("SELECT * FROM model_calls")
        (call,) = await cursor.fetchall()
    named = {name: call[name] for name in ("workflow", "run", "step", "user_id", "teams", "model", "outcome")}
    assert named == {
        "workflow": "wf_1",
        "run": "run_1",
        "step": "ask[2]",
        "user_id": "usr_1",
        "teams": ["team_1"],
        "model": "fake",
        "outcome": "ok",
    }


async def test_another_organization_has_keys_of_its_own(service: Running) -> None:
    stranger = service.who("models:run", organization=new_id("org"))
    for who in (None, stranger):
        assert (await service.post("/internal/model", {"prompt": "x"}, key="one key", who=who)).status_code == 200
    assert len(service.model.requests) == 2
