"""What was done before there were crew runs is a crew run after the migration."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from crewmesh_agent_crew.crew_runs.views import crew_run_of
from crewmesh_agent_crew.main import MIGRATIONS
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.migrations import migrate
from crewmesh_kit.ids import new_id

_KICKOFF = """
INSERT INTO kickoffs (id, org_id, crew, idempotency_key, requested_by, status, inputs, text, messages, error, model,
    requests, prompt_tokens, completion_tokens, started_at, ended_at)
VALUES (%s, %s, 'desk', %s, 'run_1', %s, '{"question": "Why?"}', %s,
    '[{"agent": "writer", "task": "answer", "text": "Because."}]', %s, 'm', 2, 10, 5, now(), now())
"""


async def test_kickoffs_stay_known(database_url: Callable[[str], str], tmp_path: Path) -> None:
    url, organization = database_url("agent-crew"), new_id("org")
    for file in sorted(MIGRATIONS.glob("000[1-6]_*.sql")):
        shutil.copy(file, tmp_path)
    await migrate(url, app_id="agent-crew", migrations=tmp_path)
    async with Database.open(url, app_id="agent-crew") as database:
        async with database.tenant(organization) as connection:
            for status, text, error in (("completed", "Because.", None), ("failed", None, "No model.")):
                await connection.execute(_KICKOFF, [new_id("kick"), organization, new_id("k"), status, text, error])
        await migrate(url, app_id="agent-crew", migrations=MIGRATIONS)
        async with database.tenant(organization) as connection:
            rows = await (await connection.execute("SELECT * FROM crew_runs ORDER BY status")).fetchall()
    done, failed = (crew_run_of(row, []) for row in rows)
    assert (done.status, done.text, done.asked, done.usage.requests) == (
        "completed",
        "Because.",
        {"question": "Why?"},
        2,
    )
    assert [said.text for said in done.said] == ["Because."]
    assert failed.error is not None
    assert (failed.status, failed.error.type, failed.error.detail) == ("failed", "crew-failed", "No model.")
