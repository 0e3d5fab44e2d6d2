"""The whole service on a real database, with a fake model server and no sidecar."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager

import psycopg
import pytest
from crewmesh_agent_crew.crews.shipped import starter_crews
from crewmesh_agent_crew.main import create_app
from crewmesh_agent_crew.settings import CrewRunSettings, ModelSettings, Settings
from crewmesh_agent_crew.turns.runner import TurnRunner
from crewmesh_kit.ids import new_id
from crewmesh_kit.settings import DatabaseSettings
from crewmesh_testkit.fake_sidecar import FakeSidecar
from crewmesh_testkit.openai_fake import OpenAiFake
from crewmesh_testkit.services import running
from pydantic import SecretStr

from .embedded_server import Server, running_embedded_model
from .harness import MODEL_KEY, Running, until
from .tool_desk import ToolDesk, tool_desk


def pytest_configure(config: pytest.Config) -> None:
    """CrewAI warns of its own use of what it deprecates, hundreds of times."""
    config.addinivalue_line("filterwarnings", "ignore::DeprecationWarning:crewai")


@pytest.fixture(scope="session")
def crews_database(database_url: Callable[[str], str]) -> str:
    return database_url("agent-crew")


_LEFT_BEHIND = (
    "UPDATE crew_runs SET status = 'cancelled', ended_at = now(), due_at = NULL WHERE ended_at IS NULL",
    # A chat whose answer nobody wrote down is looked after, and its title asked of the model.
    "UPDATE conversation_messages SET status = 'cancelled', ended_at = now() WHERE status = 'working'",
    # The knowledge service is asked once more a minute later.
    "DELETE FROM memories_to_forget",
    # Calls of nobody are settled, which is told to the world and logged.
    "UPDATE model_calls SET until = now() - interval '1 second' WHERE outcome = 'reserved'",
    "SELECT give_up_model_call(id) FROM model_calls WHERE outcome = 'reserved'",
    "DELETE FROM retention_policies",
    "DELETE FROM outbox",
)


@pytest.fixture(autouse=True)
def nothing_is_left_to_be_taken_over(request: pytest.FixtureRequest) -> None:
    """Every replica goes on with whatever is due: what a test before left at work would be given this one's answers."""
    if "crews_database" not in request.fixturenames:
        return
    with psycopg.connect(request.getfixturevalue("crews_database"), autocommit=True) as connection:
        connection.execute("SELECT set_config('app.org_id', '*', false)")
        if connection.execute("SELECT to_regclass('crew_runs') IS NOT NULL").fetchone() == (True,):
            for statement in _LEFT_BEHIND:
                connection.execute(statement)


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where many ask at once on a slow machine the last waits long for a connection; nothing is judged by that."""
    monkeypatch.setattr("crewmesh_kit.db.database._POOL_WAIT_SECONDS", 60.0)


@pytest.fixture
def crew_run_settings() -> CrewRunSettings:
    """What a test module may override."""
    return CrewRunSettings()


@pytest.fixture
async def model() -> AsyncGenerator[OpenAiFake]:
    async with OpenAiFake(api_key=MODEL_KEY) as server:
        yield server


@asynccontextmanager
async def replica(
    database: str, valkey: str, model: OpenAiFake, crew_runs: CrewRunSettings, organization: str
) -> AsyncGenerator[Running]:
    """One process of the service, as far as that is possible in a test."""
    settings = Settings(
        database=DatabaseSettings(url=SecretStr(database)),
        model=ModelSettings(
            url=model.url,
            name="fake",
            aliases={"fast": "fake-mini"},
            backoff_seconds=0.01,
            attempts=3,
            timeout_seconds=60,
        ),
        crew_runs=crew_runs,
    )
    app = create_app(settings, FakeSidecar("agent-crew", secrets={"model-api-key": MODEL_KEY, "redis-url": valkey}))
    async with running(app) as client:
        turns = app.state.resources.get(TurnRunner)
        # CrewAI is loaded once in a process, which takes long; after that no first turn is slower than the others.
        await until(lambda: turns.why_not_ready() is None, seconds=300)
        yield Running(client, app.state.resources, model, organization)


@pytest.fixture
async def service(
    crews_database: str, valkey: str, model: OpenAiFake, crew_run_settings: CrewRunSettings
) -> AsyncGenerator[Running]:
    """A new organization with the starter crew in it."""
    async with replica(crews_database, valkey, model, crew_run_settings, new_id("org")) as under_test:
        for crew in starter_crews():
            created = await under_test.post("/v1/crews", crew.model_dump(mode="json"))
            assert created.status_code == 201, created.text
        yield under_test


@pytest.fixture
async def desk(crews_database: str) -> AsyncGenerator[ToolDesk]:
    """Toolboxes of a new organization's run, without the rest of the service."""
    async with tool_desk(crews_database) as at_hand:
        yield at_hand


@pytest.fixture(scope="session")
def embedded_model() -> Generator[Server]:
    """The real one."""
    with running_embedded_model() as server:
        yield server
