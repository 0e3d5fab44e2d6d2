"""What is added to a model call: by the one door to models, and by CrewAI and all else around an agent's turn.

The agent-crew service as it assembles itself, in this process, on the mesh's PostgreSQL and Valkey; only its sidecar is
missing, which no model call passes. Started by ``turns.py`` with the folder of a running mesh; prints its measurements
as JSON in its last line.
"""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import cast

import aiohttp
import uvloop
from crewmesh_agent_crew.agents.models import AgentDefinition
from crewmesh_agent_crew.crew_runs.stage import Turn
from crewmesh_agent_crew.main import create_app
from crewmesh_agent_crew.models.calls import Message, ModelCall, ModelReply, ToolSpec
from crewmesh_agent_crew.models.thinking import Thinking
from crewmesh_agent_crew.settings import ModelSettings, Settings
from crewmesh_agent_crew.spending.charge import Charge
from crewmesh_agent_crew.tools.toolbox import Source
from crewmesh_agent_crew.turns.runner import Ports, TurnRunner
from crewmesh_contracts.base import JsonObject
from crewmesh_kit.app import Resources
from crewmesh_kit.ids import new_id
from crewmesh_kit.settings import DatabaseSettings, LogSettings
from crewmesh_testkit.fake_sidecar import FakeSidecar
from crewmesh_testkit.services import running
from crewmesh_tools.mesh.layout import Layout, default_dapr_file
from pydantic import BaseModel, SecretStr

from tests.load.databases import database_of, secrets_of
from tests.load.model_server import running_model_server

ROUNDS, _WARM_UP = 300, 50
_MODEL = "fake"
_QUESTION = "How is the weather at sea?"
_AGENT = AgentDefinition(
    name="sailor", role="Sailor", goal="Answer well.", backstory="You know the sea.", max_tokens=120, temperature=0.2
)
_TURN = Turn(agent=_AGENT, task="weather", instruction=_QUESTION, expected="One sentence.")
_CALL = ModelCall(
    messages=(Message(role="system", content="You are Sailor."), Message(role="user", content=_QUESTION)),
    max_tokens=120,
    temperature=0.2,
)


class Measured(BaseModel):
    """Milliseconds: the provider asked directly, through the door, by an agent's turn; and CrewAI's part of that."""

    direct: list[float] = []
    asked: list[float] = []
    turn: list[float] = []
    crewai: list[float] = []


class NoTools:
    """The toolbox of an agent that has none, and whose words need no guard."""

    specs: tuple[ToolSpec, ...] = ()

    async def use(self, name: str, arguments: JsonObject, *, key: str) -> str:
        raise AssertionError("there are no tools")

    def shown(self, text: str, source: Source) -> str:
        return text

    async def said(self, text: str) -> str:
        return text


@dataclass(slots=True)
class Side:
    thinking: Thinking
    turns: TurnRunner
    session: aiohttp.ClientSession
    url: str
    charge: Charge
    numbers: count[int]

    async def direct(self) -> None:
        """As any client would: the request out, the whole answer in and read."""
        messages = [{"role": message.role, "content": message.content} for message in _CALL.messages]
        body = {"model": _MODEL, "messages": messages, "max_tokens": 120, "temperature": 0.2}
        async with self.session.post(f"{self.url}/chat/completions", json=body) as answer:
            if answer.status != 200 or not (await answer.json())["choices"]:
                raise RuntimeError(f"the model server answered {answer.status}")

    async def asked(self) -> None:
        await self._ask(_CALL)

    async def turn(self) -> None:
        await self.turns.run(_TURN, Ports(self._ask, NoTools()))

    async def crewai(self) -> None:
        """The turn itself: its only model call is answered here."""
        await self.turns.run(_TURN, Ports(_answered, NoTools()))

    async def _ask(self, call: ModelCall) -> ModelReply:
        return (await self.thinking.ask(call, self.charge, f"bench/m{next(self.numbers)}")).reply


async def _answered(_: ModelCall) -> ModelReply:
    return ModelReply(text="The sea is calm today.")


async def measure(database_url: str, redis_url: str) -> Measured:
    async with running_model_server() as url, _side(database_url, redis_url, url) as side:
        await _rounds(side, _WARM_UP)
        return await _rounds(side, ROUNDS)


async def _rounds(side: Side, rounds: int) -> Measured:
    measured = Measured()
    for _ in range(rounds):
        for work, times in (
            (side.direct, measured.direct),
            (side.asked, measured.asked),
            (side.turn, measured.turn),
            (side.crewai, measured.crewai),
        ):
            began = time.perf_counter()
            await work()
            times.append((time.perf_counter() - began) * 1_000)
    return measured


@asynccontextmanager
async def _side(database_url: str, redis_url: str, model_url: str) -> AsyncGenerator[Side]:
    settings = Settings(
        database=DatabaseSettings(url=SecretStr(database_url)),
        model=ModelSettings(url=model_url, name=_MODEL),
        log=LogSettings(level="warning"),
    )
    sidecar = FakeSidecar("agent-crew", secrets={"model-api-key": "sk-bench", "redis-url": redis_url})
    app = create_app(settings, sidecar)
    async with running(app), aiohttp.ClientSession() as session:
        resources = cast(Resources, app.state.resources)
        thinking, turns = resources.get(Thinking), resources.get(TurnRunner)
        yield Side(thinking, turns, session, model_url, Charge(new_id("org")), count())


def main() -> None:
    home, offset = sys.argv[1:]
    layout = Layout(default_dapr_file(), Path(home), int(offset))
    url = database_of(layout, "agent-crew", "bench_thinking")
    print(uvloop.run(measure(url, secrets_of(layout)["redis-url"])).model_dump_json(), flush=True)


if __name__ == "__main__":
    main()
