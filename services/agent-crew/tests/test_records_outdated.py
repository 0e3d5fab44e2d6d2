"""What obeyed the rules of its time and not those of today does not work, and says which record it is, and where."""

from __future__ import annotations

import pytest
from crewmesh_contracts.base import JsonObject
from psycopg import sql

from .harness import Running
from .records_api import Api, agent, crew, errors, slug

TASK: JsonObject = {"task": "Tell it."}
SPOKEN: JsonObject = {"name": "spoken", "text": "Speak softly."}


async def outdated(service: Running, table: str, name: str, *path: str) -> None:
    """There was a member once that is refused today."""
    change = sql.SQL("UPDATE {} SET definition = jsonb_set(definition, %s, '\"grim\"') WHERE name = %s")
    async with service.database.tenant(service.organization) as connection:
        await connection.execute(change.format(sql.Identifier(table)), [[*path, "mood"], name])


@pytest.mark.parametrize(
    ("table", "name", "place", "work", "told"),
    [
        ("crews", "tellers", ("agents", "0"), "crews/tellers/runs", "The crew 'tellers' "),
        ("crews", "tellers", ("agents", "0"), "agents/teller/runs", "The agent of the crew 'tellers' "),
        ("agents", "ann", (), "agents/ann/runs", "The agent 'ann' "),
        ("agents", "ann", (), "crews/guests/runs", "The agent 'ann' "),
        ("prompt_templates", "spoken", (), "agents/bob/runs", "The prompt template 'spoken' "),
    ],
)
async def test_it_is_named_with_its_place(
    service: Running, table: str, name: str, place: tuple[str, ...], work: str, told: str
) -> None:
    await Api(service, "prompt-templates").made(SPOKEN)
    await Api(service, "agents").made(agent("ann"))
    await Api(service, "agents").made(agent("bob", prompt={"use": "spoken"}))
    await Api(service, "crews").made(crew("tellers"))
    tell: JsonObject = {"name": "tell", "description": "Tell it.", "expected_output": "Words."}
    await Api(service, "crews").made(crew("guests", agents=[{"use": "ann"}], tasks=[tell]))
    await outdated(service, table, name, *place)
    refused = await service.post(f"/v1/{work}", TASK if work.startswith("agents/") else {})
    assert slug(refused) == (409, "outdated-definition"), refused.text
    assert refused.json()["detail"].startswith(f"{told}was saved by earlier rules")
    assert [str(error["path"]).rsplit(".", 1)[-1] for error in errors(refused)] == ["mood"]
