"""A poison event ends in the dead letters, can be sent again from there, and takes nobody down."""

from __future__ import annotations

from uuid import uuid4

import pytest
from crewmesh_testkit.mesh import JsonDict, MeshClient, MeshProcess
from crewmesh_testkit.polling import until

EVENT_TYPE = "test.poison.{}"


async def dead_letter(client: MeshClient, mark: str) -> JsonDict:
    async def found() -> JsonDict | None:
        listed = await client.get("/v1/dead-letters?limit=200")
        return next((letter for letter in listed.body["items"] if mark in str(letter)), None)

    return await until(found, seconds=180, what=f"a dead letter with {mark}")


@pytest.mark.parametrize(
    "wrong", [{"crewmeshorg": "org_nobody"}, {"type": ""}, {"time": "yesterday"}], ids=lambda wrong: next(iter(wrong))
)
async def test_a_poison_event_becomes_a_dead_letter_and_the_next_event_still_works(
    mesh: MeshProcess, wrong: dict[str, str]
) -> None:
    mark = uuid4().hex
    event = {
        "specversion": "1.0",
        "id": mark,
        "source": "/tests",
        "type": "test.poison",
        "crewmeshorg": mesh.organization,
    } | wrong
    async with mesh.client() as client:
        await mesh.publish("events", event)
        letter = await dead_letter(client, mark)
        assert letter["topic"] == "events"
        assert letter["reason"], "a dead letter says what was wrong"

        good = await client.post(
            "/v1/events", {"specversion": "1.0", "id": uuid4().hex, "source": "/tests", "type": "nobody.listens"}
        )
        assert good.status == 202


async def test_a_dead_letter_can_be_redriven_once_its_cause_is_gone(mesh: MeshProcess) -> None:
    """The event is dead because its bytes are no CloudEvent; sent again it dies again, and both facts are visible."""
    mark = uuid4().hex
    async with mesh.client() as client:
        await mesh.publish(
            "events",
            {"specversion": "1.0", "id": mark, "source": "/tests", "type": "", "crewmeshorg": mesh.organization},
        )
        letter = await dead_letter(client, mark)
        again = await client.post(f"/v1/dead-letters/{letter['id']}/redrive", {})
        assert again.status in (200, 202), again.body

        async def died_again() -> bool:
            listed = (await client.get("/v1/dead-letters?limit=200")).body["items"]
            mine = [entry for entry in listed if mark in str(entry)]
            return len(mine) == 2 and any(entry["redriven_at"] for entry in mine)

        await until(died_again, seconds=180, what="the redriven event back among the dead")
