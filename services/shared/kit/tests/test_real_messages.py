"""Messages through a real daprd and Valkey: delivered, tried again, or kept among the dead letters."""

from __future__ import annotations

import json
import os
from uuid import uuid4

import pytest
from crewmesh_contracts.events import CloudEvent, OrganizationCreated
from crewmesh_kit.db import outbox
from crewmesh_kit.db.database import Database
from crewmesh_kit.dead_letters import DeadLetter
from crewmesh_kit.errors import NotFound
from crewmesh_kit.telemetry import continued
from crewmesh_testkit import ORGANIZATION, OTHER_ORGANIZATION, identity
from crewmesh_testkit.polling import until
from crewmesh_testkit.probe import OPERATOR, TOPIC, Probe

pytestmark = pytest.mark.asyncio(loop_scope="module")


class _Happened(OrganizationCreated):
    """An event of ours on the topic the probe listens to."""

    topic = TOPIC


def good(**changes: object) -> dict[str, object]:
    event = {"specversion": "1.0", "id": uuid4().hex, "source": "tests", "type": "good", "crewmeshorg": ORGANIZATION}
    return event | changes


class TestDelivery:
    async def test_an_event_arrives_as_it_was_made(self, probe: Probe) -> None:
        event = CloudEvent(
            id=uuid4().hex,
            source="tests",
            type="good",
            subject="s",
            data={"ü": [1, None, "\U0001f389"]},
            crewmeshorg=ORGANIZATION,
        )
        await probe.sidecar.publish(TOPIC, event)
        arrived = await probe.until_handled(event.id)
        assert arrived.model_dump(exclude={"time"}) == event.model_dump(exclude={"time"})

    async def test_an_event_from_the_outbox_carries_its_trace(self, probe: Probe) -> None:
        trace = "0af7651916cd43dd8448eb211c80319c"
        with continued({"traceparent": f"00-{trace}-b7ad6b7169203331-01"}):
            async with probe.service.resources.get(Database).tenant(ORGANIZATION) as conn:
                await outbox.add(conn, _Happened(organization=ORGANIZATION, name=trace))
        event = await until(
            lambda: next((event for event in probe.handled if trace in str(event.data)), None),
            seconds=60,
            what="the event from the outbox",
        )
        assert trace in probe.traces[event.id]
        assert event.model_extra == {}, "what the sidecar and the kit add on the way is taken off again"

    async def test_many_at_once_all_arrive(self, probe: Probe) -> None:
        events = [CloudEvent(id=uuid4().hex, source="tests", type="good") for _ in range(100)]
        await probe.sidecar.publish_many(TOPIC, events)
        for event in events:
            await probe.until_handled(event.id)

    async def test_a_failing_handler_is_tried_again(self, probe: Probe) -> None:
        event = CloudEvent(id=uuid4().hex, source="tests", type="good")
        probe.fail_times[event.id] = 2
        await probe.sidecar.publish(TOPIC, event)
        await probe.until_handled(event.id)
        assert probe.attempts[event.id] == 3


POISON: dict[str, bytes] = {
    "a numeric traceid": json.dumps(good(traceid=5, subject="MARK")).encode(),
    "a numeric traceparent": json.dumps(good(traceparent=5, subject="MARK")).encode(),
    "a numeric id": json.dumps(good(id=7, subject="MARK")).encode(),
    "no type": json.dumps(good(type="", subject="MARK")).encode(),
    "an unknown spec version": json.dumps(good(specversion="0.3", subject="MARK")).encode(),
    "a list": b'["MARK"]',
    "a string": b'"MARK"',
    "no JSON": b"{MARK",
    "no text": b"\xff\xfe MARK",
    "a NUL character": json.dumps(good(type="stored", data="a\0b", subject="MARK")).encode(),
    "half a surrogate": b'{"specversion": "1.0", "id": "MARK", "source": "s", "type": "stored", "data": "\\ud800"}',
    "very deep": b'{"subject": "MARK", "data": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "what it names is not there": json.dumps(good(type="unknown.thing", subject="MARK")).encode(),
    "data of another shape": json.dumps(good(type="bad.data", data={"txt": 1}, subject="MARK")).encode(),
}


class TestPoison:
    @pytest.mark.parametrize("name", POISON)
    async def test_ends_among_the_dead_letters_and_harms_nobody(self, probe: Probe, name: str) -> None:
        mark = uuid4().hex
        payload = POISON[name].replace(b"MARK", mark.encode())
        probe.put_on_stream(payload)
        if name == "no text":
            mark = "data:application/octet-stream;base64,"
        letter = await probe.until_dead(mark)
        assert letter.topic == TOPIC
        assert len(letter.reason) > 20
        after = CloudEvent(id=uuid4().hex, source="tests", type="good")
        await probe.sidecar.publish(TOPIC, after)
        await probe.until_handled(after.id)
        assert probe.sidecar_process.is_alive()

    async def test_a_handler_that_never_succeeds_gives_up(self, probe: Probe) -> None:
        event = CloudEvent(id=uuid4().hex, source="tests", type="good")
        probe.fail_times[event.id] = 1000
        await probe.sidecar.publish(TOPIC, event)
        letter = await probe.until_dead(event.id)
        assert "never worked" in letter.reason
        assert probe.attempts[event.id] == 5

    async def test_the_reason_does_not_repeat_what_was_sent(self, probe: Probe) -> None:
        mark = uuid4().hex
        probe.put_on_stream(json.dumps(good(subject=mark, time="SECRET-VALUE")).encode())
        letter = await probe.until_dead(mark)
        assert "time" in letter.reason
        assert "SECRET-VALUE" not in letter.reason


class TestDeadLetters:
    async def test_belong_to_the_organization_of_their_event(self, probe: Probe) -> None:
        mark = uuid4().hex
        probe.put_on_stream(json.dumps(good(type="unknown.thing", subject=mark)).encode())
        letter = await probe.until_dead(mark)
        ours = identity("dead-letters:read")
        theirs = identity("dead-letters:read", organization=OTHER_ORGANIZATION)
        assert letter.id in [each.id for each in await probe.dead(ours)]
        assert letter.id not in [each.id for each in await probe.dead(theirs)]
        with pytest.raises(NotFound):
            await probe.letters.redrive(theirs, letter.id)

    async def test_without_an_organization_are_for_operators(self, probe: Probe) -> None:
        mark = uuid4().hex
        probe.put_on_stream(f"{{{mark}".encode())
        letter = await probe.until_dead(mark)
        assert letter.id not in [each.id for each in await probe.dead(identity("dead-letters:read"))]

    async def test_are_sent_again_once(self, probe: Probe) -> None:
        event = CloudEvent(id=uuid4().hex, source="tests", type="good", crewmeshorg=ORGANIZATION)
        probe.fail_times[event.id] = 5
        await probe.sidecar.publish(TOPIC, event)
        letter = await probe.until_dead(event.id)
        again = await probe.letters.redrive(OPERATOR, letter.id)
        assert again.redriven_at is not None
        assert (await probe.letters.redrive(OPERATOR, letter.id)).redriven_at == again.redriven_at
        await probe.until_handled(event.id)
        assert probe.attempts[event.id] == 6

    @pytest.mark.parametrize("payload", [b'{"type": "", "x": "MARK"}', b"\xff\0MARK"])
    async def test_that_die_again_are_new_letters(self, probe: Probe, payload: bytes) -> None:
        before = {letter.id for letter in await probe.dead()}
        probe.put_on_stream(payload.replace(b"MARK", os.urandom(8).hex().encode()))

        async def new(count: int) -> list[DeadLetter]:
            async def found() -> list[DeadLetter] | None:
                letters = [letter for letter in await probe.dead() if letter.id not in before]
                return letters if len(letters) == count else None

            return await until(found, seconds=60, what=f"{count} new dead letters")

        (first,) = await new(1)
        await probe.letters.redrive(OPERATOR, first.id)
        second, first = await new(2)
        assert (second.event, second.raw) == (first.event, first.raw)
