"""Calls, streams and stores through a real daprd."""

from __future__ import annotations

import pytest
from crewmesh_kit.dapr.sidecar import told_length
from crewmesh_kit.errors import BadGateway, GatewayTimeout, NotFound, RemoteProblem, Unavailable
from crewmesh_testkit import ORGANIZATION, identity
from crewmesh_testkit.identities import public_keys
from crewmesh_testkit.probe import APP, ASK, NOBODY, Answer, Probe, Question

pytestmark = pytest.mark.asyncio(loop_scope="module")


class TestCalls:
    async def test_are_answered_on_behalf_of_who_asks(self, probe: Probe) -> None:
        answer = await probe.sidecar.call(ASK, Question(text="hello"), identity=identity("ask"))
        assert answer == Answer(text="HELLO", asked_by=ORGANIZATION)

    async def test_a_problem_comes_back_as_it_was_told(self, probe: Probe) -> None:
        with pytest.raises(RemoteProblem) as told:
            await probe.sidecar.call(ASK, Question(text="missing"), identity=identity("ask"))
        assert (told.value.status, told.value.slug, told.value.retryable) == (404, "not-found", False)
        assert told.value.detail == "There is no such answer."
        assert told.value.extensions["hint"] == "ask another question"

    async def test_without_permission_is_refused(self, probe: Probe) -> None:
        with pytest.raises(RemoteProblem) as told:
            await probe.sidecar.call(ASK, Question(text="x"), identity=identity("other"))
        assert told.value.status == 403

    async def test_to_a_service_that_is_not_there(self, probe: Probe) -> None:
        with pytest.raises(Unavailable, match="nobody cannot be reached"):
            await probe.sidecar.call(NOBODY, Question(text="x"), identity=identity("ask"))

    async def test_that_take_too_long(self, probe: Probe) -> None:
        with pytest.raises(GatewayTimeout, match=r"0\.3 seconds"):
            await probe.sidecar.call(ASK, Question(text="slow"), identity=identity("ask"), timeout=0.3)

    async def test_an_answer_that_was_cut_off_is_none(self, probe: Probe) -> None:
        """The sidecars end it as if it were whole, and with status 200."""
        with pytest.raises(Unavailable, match="in the middle of its answer"):
            await probe.sidecar.call(ASK, Question(text="die"), identity=identity("ask"))

    async def test_an_error_that_the_service_answered_is_known_by_its_length(self, probe: Probe) -> None:
        authorization = await probe.sidecar.authorization(identity("ask"), audience=APP)
        headers = {"authorization": authorization, "content-type": "application/json"}
        body = Question(text="missing").model_dump_json().encode()
        async with probe.sidecar.forward(APP, "POST", ASK.path, headers=headers, body=body) as answer:
            assert answer.status == 404
            assert told_length(answer) == len(await answer.read())
        async with probe.sidecar.forward(NOBODY.app, "POST", NOBODY.path, headers=headers, body=body) as answer:
            assert answer.status == 500
            assert told_length(answer) is None

    async def test_streams_pass_unbuffered(self, probe: Probe) -> None:
        headers = {"authorization": await probe.sidecar.authorization(identity("ask"), audience=APP)}
        async with probe.sidecar.forward(APP, "GET", "/internal/stream", headers=headers) as answer:
            assert await answer.content.readline() == b"first\n"
            probe.stream_goes_on.set()
            assert await answer.content.readline() == b"last\n"


class TestStores:
    async def test_secrets(self, probe: Probe) -> None:
        assert await probe.sidecar.secret("identity-keys") == public_keys()
        with pytest.raises(BadGateway, match="'no-such-secret'"):
            await probe.sidecar.secret("no-such-secret")

    async def test_state(self, probe: Probe) -> None:
        state = probe.sidecar.state
        assert await state.get("k") is None
        await state.set("k", b"\x00\xffbytes", ttl_seconds=60)
        assert await state.get("k") == b"\x00\xffbytes"
        await state.delete("k")
        assert await state.get("k") is None

    async def test_blobs(self, probe: Probe) -> None:
        blobs = probe.sidecar.blobs
        largest = b"x" * (5 * 1024 * 1024 - 256)
        for payload in (b"text", b'{"a": 1}', b"\x00\xff" * 50_000, b"YWJj", b"x" * 3_000_000, largest):
            reference = await blobs.put(payload)
            assert await blobs.get(reference) == payload
        with pytest.raises(NotFound):
            await blobs.get("sha256:" + "0" * 64)

    async def test_metadata(self, probe: Probe) -> None:
        metadata = await probe.sidecar.metadata()
        assert metadata.id == APP
        assert metadata.connected_workers == 0
