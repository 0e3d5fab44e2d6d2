"""``/v1/usage``: sums that are right, by whatever is asked, and files that a spreadsheet opens without harm."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from crewmesh_agent_crew.models.calls import Tokens
from crewmesh_agent_crew.spending.charge import Charge
from crewmesh_agent_crew.spending.models import Attempt, End, Ending
from crewmesh_agent_crew.spending.service import Ledger
from crewmesh_agent_crew.usage.folding import Folding
from crewmesh_contracts.base import JsonObject
from crewmesh_kit.identity import Identity
from crewmesh_kit.ids import new_id
from crewmesh_testkit.identities import auth_headers

from .harness import Running
from .test_sharing import person, share

CENT = 10_000_000


async def spent(
    service: Running,
    *,
    cents: int = 1,
    model: str = "smart",
    outcome: Ending = "ok",
    seconds: float = 0.1,
    days_ago: float = 0.0,
    at: datetime | None = None,
    teams: tuple[str, ...] = (),
    workflow: str | None = None,
    agent: str | None = None,
    crew: str | None = None,
) -> None:
    ledger = service.resources.get(Ledger)
    charge = Charge(service.organization, workflow=workflow, agent=agent, crew=crew, teams=frozenset(teams))
    attempt = Attempt(charge, new_id("k"), "h", provider="acme", model=model, price_version="1", worst=cents * CENT)
    await ledger.begin(attempt, may_switch=True)
    tokens = Tokens(input=100, output=10, cached=50)
    await ledger.end(attempt, End(outcome, cents * CENT, tokens, seconds))
    async with service.database.tenant(service.organization) as conn:
        await conn.execute(
            "UPDATE model_calls SET at = coalesce(%s, at - %s * interval '1 day') WHERE id = %s",
            [at, days_ago, attempt.id],
        )


async def usage(service: Running, query: str = "", *, who: Identity | None = None) -> JsonObject:
    answer = await service.get(f"/v1/usage{query}", who=who or service.who("usage:read"))
    assert answer.status_code == 200, answer.text
    return answer.json()


def rows(found: JsonObject, *names: str) -> list[tuple[object, ...]]:
    items = found["items"]
    assert isinstance(items, list)
    told: list[tuple[object, ...]] = []
    for item in items:
        assert isinstance(item, dict)
        assert isinstance(item["names"], dict)
        told.append((*(item["names"][name] for name in names), item["calls"], item["cost"]))
    return told


async def test_nobody_without_the_permission(service: Running) -> None:
    for path in ("/v1/usage", "/v1/usage/calls"):
        assert (await service.get(path, who=service.who())).status_code == 403
        assert (await service.client.get(path)).status_code == 401


async def test_nothing_was_spent(service: Running) -> None:
    found = await usage(service)
    assert found["items"] == []
    assert found["total"] == {
        "calls": 0, "input_tokens": 0, "cached_tokens": 0, "output_tokens": 0, "cost": "0", "latency": None
    }  # fmt: skip


async def test_the_total_and_its_parts(service: Running) -> None:
    for seconds in (0.1, 0.1, 0.1, 2.0):
        await spent(service, seconds=seconds, agent="writer")
    await spent(service, cents=7, model="cheap", outcome="failed", seconds=9, agent="writer")
    await spent(service, cents=2, agent="editor")
    found = await usage(service, "?by=agent&by=model")
    total = found["total"]
    assert isinstance(total, dict)
    assert (total["calls"], total["cost"], total["input_tokens"], total["cached_tokens"]) == (6, "0.13", 600, 300)
    assert isinstance(total["latency"], dict)
    # To within a twentieth; the one that failed does not count.
    assert total["latency"]["p50"] == pytest.approx(100, rel=0.05)
    assert total["latency"]["p95"] == pytest.approx(2_000, rel=0.05)
    assert rows(found, "agent", "model") == [
        ("writer", "cheap", 1, "0.07"),
        ("writer", "smart", 4, "0.04"),
        ("editor", "smart", 1, "0.02"),
    ]
    assert rows(await usage(service, "?by=outcome"), "outcome") == [("failed", 1, "0.07"), ("ok", 5, "0.06")]
    assert rows(await usage(service, "?by=agent&limit=1"), "agent") == [("writer", 5, "0.11")]
    assert (await usage(service, "?by=agent&limit=1"))["truncated"]


async def test_names_narrow_it_down(service: Running) -> None:
    workflow = new_id("wf")
    await spent(service, workflow=workflow, teams=("team_a",))
    await spent(service, teams=("team_a", "team_b"))
    await spent(service)
    for query, calls in ((f"workflow={workflow}", 1), ("team=team_a", 2), ("team=team_b&model=smart", 1), ("run=x", 0)):
        total = (await usage(service, f"?{query}"))["total"]
        assert isinstance(total, dict)
        assert total["calls"] == calls, query


async def test_a_call_counts_for_each_team_and_once_in_the_total(service: Running) -> None:
    await spent(service, teams=("team_a", "team_b"))
    await spent(service, cents=2, teams=("team_b",))
    await spent(service, cents=5)
    found = await usage(service, "?by=team")
    assert rows(found, "team") == [(None, 1, "0.05"), ("team_b", 2, "0.03"), ("team_a", 1, "0.01")]
    total = found["total"]
    assert isinstance(total, dict)
    assert (total["calls"], total["cost"]) == (3, "0.08")


async def test_a_series_has_a_row_for_each_day_with_calls(service: Running) -> None:
    noon = datetime.now(UTC).replace(hour=12) - timedelta(days=3)
    for _ in range(3):
        await spent(service, at=noon)
    today = {datetime.now(UTC).date()}
    await spent(service)
    today.add(datetime.now(UTC).date())  # where it is midnight right now
    found = await usage(service, "?bucket=day")
    items = found["items"]
    assert isinstance(items, list)
    told = [(str(item["at"])[:10], item["calls"]) for item in items if isinstance(item, dict)]
    assert told in [[(str(noon.date()), 3), (str(day), 1)] for day in today]
    for bucket in ("hour", "month"):
        assert (await usage(service, f"?bucket={bucket}&by=model"))["total"] == found["total"]


async def test_what_is_outside_the_span_does_not_count(service: Running) -> None:
    await spent(service, days_ago=40)
    assert (await usage(service, "?by=model"))["items"] == []
    start = (datetime.now(UTC) - timedelta(days=41)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert len(rows(await usage(service, f"?by=model&from={start}"), "model")) == 1


@pytest.mark.parametrize(
    "query",
    [
        "from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z",
        "to=0001-01-01T00:00:00Z",
        "from=2020-01-01T00:00:00Z",
        "from=2026-01-01T00:00:00",
        "by=nothing",
        "by=model&by=agent&by=run",
        "bucket=minute",
        "from=2026-01-01T00:00:00Z&to=2026-04-01T00:00:00Z&bucket=hour",
        "model=%00",
    ],
)
async def test_what_cannot_be_asked(service: Running, query: str) -> None:
    assert (await service.get(f"/v1/usage?{query}", who=service.who("usage:read"))).status_code == 400


async def test_single_calls_by_pages(service: Running) -> None:
    for cents in (1, 2, 3):
        await spent(service, cents=cents, teams=("team_a",))
    reader = service.who("usage:read")
    first = (await service.get("/v1/usage/calls?limit=2", who=reader)).json()
    rest = (await service.get(f"/v1/usage/calls?limit=2&cursor={first['next_cursor']}", who=reader)).json()
    calls = [*first["items"], *rest["items"]]
    assert [call["cost"] for call in calls] == ["0.03", "0.02", "0.01"]
    assert (calls[0]["outcome"], calls[0]["teams"], calls[0]["latency_ms"]) == ("ok", ["team_a"], 100)
    assert (await service.get("/v1/usage/calls?cursor=WyJhIiwiYiJd", who=reader)).status_code == 400
    stranger = service.who("usage:read", organization=new_id("org"))
    assert (await service.get("/v1/usage/calls", who=stranger)).json()["items"] == []


@pytest.mark.parametrize("days_ago", [0, 2], ids=["call by call", "summed up"])
async def test_names_of_what_is_hidden_are_not_told(service: Running, days_ago: float) -> None:
    """Of a restricted crew and those who work in it, and of a restricted agent wherever it works."""
    await spent(service, days_ago=days_ago, crew="answer-desk", agent="researcher")
    await spent(service, cents=2, days_ago=days_ago, agent="researcher")  # asked without the crew it is written in
    await spent(service, cents=4, days_ago=days_ago, crew="open", agent="researcher")
    await spent(service, cents=8, days_ago=days_ago, crew="open", agent="secret")
    secret: JsonObject = {"name": "secret", "role": "Spy", "goal": "Stay unknown."}
    assert (await service.post("/v1/agents", secret)).status_code == 201
    for path in ("/v1/crews/answer-desk/access", "/v1/agents/secret/access"):
        assert (await share(service, path=path)).status_code == 200
    await service.resources.get(Folding).fold()

    reader = person(service, "1", "usage:read")
    assert rows(await usage(service, "?by=crew&by=agent", who=reader), "crew", "agent") == [
        ("open", None, 1, "0.08"),
        ("open", "researcher", 1, "0.04"),
        (None, None, 2, "0.03"),
    ]
    for query in ("crew=answer-desk", "agent=secret"):
        total = (await usage(service, f"?{query}", who=reader))["total"]
        assert isinstance(total, dict)
        assert total["calls"] == 0, query
    calls = (await service.get("/v1/usage/calls", who=reader)).json()["items"]
    assert sorted((call["cost"], call["crew"], call["agent"]) for call in calls) == [
        ("0.01", None, None),
        ("0.02", None, None),
        ("0.04", "open", "researcher"),
        ("0.08", "open", None),
    ]
    admin = person(service, "2", "usage:read", role="admin")
    assert len(rows(await usage(service, "?by=crew&by=agent", who=admin), "crew", "agent")) == 4


async def test_files_for_spreadsheets(service: Running) -> None:
    await spent(service, agent="=HYPERLINK(1)", cents=3)
    await spent(service, agent='wri"ter, the')
    who = auth_headers(service.who("usage:read"), audience="agent-crew")
    file = await service.client.get("/v1/usage?by=agent", headers={**who, "accept": "text/csv"})
    assert file.headers["content-type"].startswith("text/csv")
    header, *lines = csv.reader(io.StringIO(file.text))
    assert header == [
        "agent", "calls", "input_tokens", "cached_tokens", "output_tokens", "cost", "latency_p50_ms", "latency_p95_ms"
    ]  # fmt: skip
    assert [(line[0], line[5]) for line in lines] == [("'=HYPERLINK(1)", "0.03"), ('wri"ter, the', "0.01")]
    file = await service.client.get("/v1/usage/calls?format=csv", headers=who)
    header, *lines = csv.reader(io.StringIO(file.text))
    assert len(lines) == 2
    assert sum(Decimal(line[header.index("cost")]) for line in lines) == Decimal("0.04")
