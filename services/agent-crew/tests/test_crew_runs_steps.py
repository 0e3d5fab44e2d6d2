"""Letting a crew work for a step of a workflow: once per key, and what was paid for is paid once."""

from __future__ import annotations

import asyncio

import pytest
from crewmesh_kit.ids import new_id

from .harness import ABUSE, MODEL_KEY, READABLE, Running, result_of


class TestWork:
    async def test_two_agents_work_and_the_second_sees_what_the_first_found(self, service: Running) -> None:
        service.model.answers("Fact: daprd is a sidecar.", "Crewmesh runs on sidecars.")
        answer = await service.kickoff("What does Crewmesh run on?", context="Crewmesh uses daprd.")
        result = result_of(answer)
        assert [(m.agent, m.task, m.text) for m in result.messages] == [
            ("researcher", "research", "Fact: daprd is a sidecar."),
            ("writer", "answer", "Crewmesh runs on sidecars."),
        ]
        assert result.text == "Crewmesh runs on sidecars."
        research, writing = service.model.requests
        assert "Crewmesh uses daprd." in research.prompt
        assert "Fact: daprd is a sidecar." in writing.prompt
        assert result.usage.requests == 2
        assert result.usage.prompt_tokens == len(research.prompt.split()) + len(writing.prompt.split())
        assert (result.usage.model, result.usage.completion_tokens) == ("fake", 9)

    async def test_text_comes_through_verbatim_both_ways(self, service: Running) -> None:
        service.model.answers(ABUSE, ABUSE)
        result = result_of(await service.kickoff(ABUSE, context=ABUSE))
        research, writing = service.model.requests
        assert research.prompt.count(READABLE) == 2
        assert writing.prompt.count(READABLE) == 2  # the question, and what the researcher said
        assert [message.text for message in result.messages] == [READABLE, READABLE]

    async def test_everything_is_written_down(self, service: Running) -> None:
        service.model.answers("notes", "answer")
        await service.kickoff("first")
        await service.kickoff("second")
        first_page = (await service.get("/v1/crew-runs?crew=answer-desk&limit=1")).json()
        (newest,) = first_page["items"]
        assert (newest["status"], newest["name"], newest["kind"]) == ("completed", "answer-desk", "crew")
        rest = (await service.get(f"/v1/crew-runs?crew=answer-desk&cursor={first_page['next_cursor']}")).json()
        oldest = (await service.get(f"/v1/crew-runs/{rest['items'][0]['id']}")).json()
        assert oldest["asked"]["question"] == "first"
        assert [said["text"] for said in oldest["said"]] == ["notes", "answer"]
        assert (oldest["text"], oldest["error"], oldest["usage"]["requests"]) == ("answer", None, 2)
        assert rest["next_cursor"] is None


class TestOncePerKey:
    async def test_a_retry_gets_the_same_result_and_pays_nothing(self, service: Running) -> None:
        service.model.answers("a", "b")
        key = new_id("test")
        first = await service.kickoff("q", key=key)
        again = await service.kickoff("q", key=key)
        assert first.status_code == again.status_code == 200
        assert first.json() == again.json()
        assert len(service.model.requests) == 2

    async def test_many_at_once_join_one_crew(self, service: Running) -> None:
        service.model.delay = 0.1
        key = new_id("test")
        answers = await asyncio.gather(*(service.kickoff("q", key=key) for _ in range(50)))
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.text for answer in answers}) == 1
        assert len(service.model.requests) == 2

    async def test_the_same_key_for_another_question_is_refused(self, service: Running) -> None:
        key = new_id("test")
        await service.kickoff("q", key=key)
        answer = await service.kickoff("another", key=key)
        assert (answer.status_code, answer.json()["type"].rsplit("/")[-1]) == (422, "idempotency-key-reused")

    async def test_a_failed_one_may_be_tried_again_and_pays_only_what_is_new(self, service: Running) -> None:
        service.model.answers("paid for")
        key = new_id("test")
        service.model.answers(lambda _: service.model.fails(503, times=3) or "")
        failed = await service.kickoff("q", key=key)
        assert (failed.status_code, failed.json()["retryable"]) == (503, True)
        assert failed.json()["type"].endswith("/model-unavailable")
        (lost,) = (await service.get("/v1/crew-runs")).json()["items"]
        assert (lost["status"], lost["usage"]["requests"]) == ("failed", 1)
        service.model.answers("at last")
        done = result_of(await service.kickoff("q", key=key))
        assert ([message.text for message in done.messages], done.usage.requests) == (["paid for", "at last"], 2)
        (again,) = (await service.get("/v1/crew-runs")).json()["items"]
        assert (again["id"], again["status"]) == (lost["id"], "completed")


class TestRefusals:
    async def test_a_kickoff_wants_a_key(self, service: Running) -> None:
        answer = await service.post("/internal/kickoff", {"crew": "answer-desk", "inputs": {"question": "q"}})
        assert answer.status_code == 400
        assert "Idempotency-Key" in answer.json()["detail"]

    @pytest.mark.parametrize(
        ("inputs", "status"),
        [({}, 422), ({"question": "q", "x": "y"}, 422), ({"question": ["q"]}, 422), ({"question": "a\0b"}, 422)],
    )
    async def test_inputs_that_do_not_fit(self, service: Running, inputs: object, status: int) -> None:
        answer = await service.post("/internal/kickoff", {"crew": "answer-desk", "inputs": inputs}, key=new_id("t"))
        assert answer.status_code == status
        assert service.model.requests == []

    async def test_an_unknown_crew_may_still_come(self, service: Running) -> None:
        answer = await service.post("/internal/kickoff", {"crew": "nobody", "inputs": {}}, key=new_id("t"))
        assert (answer.status_code, answer.json()["retryable"]) == (404, True)

    async def test_a_model_that_refuses_is_not_asked_again_and_the_key_stays_secret(self, service: Running) -> None:
        service.model.api_key = "another"
        key = new_id("test")
        answers = [await service.kickoff("q", key=key) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [502, 502]
        assert answers[0].json()["retryable"] is False
        assert MODEL_KEY not in answers[0].text
        assert "rate limit" not in answers[0].text
