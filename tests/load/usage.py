"""Usage of a month: asked where days that are over are summed up, and of the same calls read one by one, in turns."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from crewmesh_agent_crew.main import MIGRATIONS
from crewmesh_agent_crew.spending.hidden import Hidden
from crewmesh_agent_crew.usage.folding import Folding
from crewmesh_agent_crew.usage.models import Question, Span
from crewmesh_agent_crew.usage.repository import UsageRepository
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.migrations import migrate
from crewmesh_kit.ids import new_id
from crewmesh_testkit.mesh import MeshProcess

from tests.load.databases import database_of
from tests.load.figures import Figure, at_least_times_baseline, median

_CALLS, _BATCH = 300_000, 10_000
_ROUNDS = 7
_TIMES_THE_LEDGER = 3.0
# Ten workflows with two agents each, day and night, that are answered in half a second to eight.
_INSERT = """
INSERT INTO model_calls
SELECT r.* FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n,
LATERAL jsonb_populate_record(NULL::model_calls, jsonb_build_object(
    'id', %(org)s || n, 'org_id', %(org)s, 'key', n, 'attempt', 1, 'teams', '{}'::text[], 'provider', 'acme',
    'run', 'run_1',
    'workflow', 'wf_' || n %% 10, 'agent', 'agent-' || n %% 20, 'model', 'model-' || n %% 4, 'price_version', '1',
    'input', n %% 5000, 'output', n %% 700, 'cached', n %% 1000, 'written', 0, 'cost_nano', n %% 1000000,
    'reserved_nano', 1000000, 'latency_ms', (exp(random() * 3) * 400)::int, 'outcome', 'ok', 'balances', '{}'::bigint[],
    'at', now() - n * interval '30 days' / %(calls)s
)) AS r
"""


async def measure_usage(mesh: MeshProcess) -> list[Figure]:
    return await measured(database_of(mesh.layout, "agent-crew", "bench_usage"))


async def measured(database_url: str, calls: int = _CALLS) -> list[Figure]:
    await migrate(database_url, app_id="agent-crew", migrations=MIGRATIONS)
    async with Database.open(database_url, app_id="agent-crew") as database:
        organization = new_id("org")
        for first in range(1, calls + 1, _BATCH):
            named = {"org": organization, "first": first, "last": min(first + _BATCH - 1, calls), "calls": calls}
            async with database.tenant(organization) as conn:
                await conn.execute(_INSERT, named)
        await Folding(database).fold()
        async with database.system() as conn:
            await conn.execute("ANALYZE model_calls, usage_days")
        now = datetime.now(UTC)
        span = Span(now - timedelta(days=30), now)
        return [
            await _figure("a month by model", database, organization, Question(span, by=("model",))),
            await _figure("by day and agent", database, organization, Question(span, "day", ("agent",))),
        ]


async def _figure(name: str, database: Database, organization: str, question: Question) -> Figure:
    # All are of one run: asked so, they are read one by one.
    questions = {"sums": question, "ledger": replace(question, where={"run": "run_1"})}
    seconds: dict[str, list[float]] = {asked: [] for asked in questions}
    for _ in range(_ROUNDS):
        for asked, times in seconds.items():
            began = time.perf_counter()
            async with database.tenant(organization) as conn:
                await UsageRepository(conn, organization, Hidden()).sums(questions[asked])
            times.append(time.perf_counter() - began)
    rate, baseline = 1 / median(seconds["sums"]), 1 / median(seconds["ledger"])
    return Figure(f"usage, {name}", rate, "questions/s", baseline, at_least_times_baseline(_TIMES_THE_LEDGER))
