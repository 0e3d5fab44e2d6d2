"""Crews that think with the real embedded model, in each of the processes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import get_args

import pytest
from crewmesh_agent_crew.crew_runs.stage import Said, Turn
from crewmesh_agent_crew.crews.models import EACH_TASK_HAS_ITS_AGENT, Process
from crewmesh_agent_crew.models.answers import Following, OneOf
from crewmesh_agent_crew.models.calls import Message, ModelCall, ModelReply
from crewmesh_agent_crew.models.json_schemas import JsonSchemas
from crewmesh_agent_crew.processes import run_process
from crewmesh_agent_crew.providers.adapters import Adapters, open_adapters
from crewmesh_agent_crew.providers.protocol import Account
from crewmesh_agent_crew.settings import Settings
from crewmesh_agent_crew.turns.runner import Ports, TurnRunner
from crewmesh_contracts.base import JsonObject
from crewmesh_kit.app import Resources

from .embedded_server import MODEL, Server
from .scripted_stage import ScriptedStage, crew, task
from .turn_parts import Toolbox


@pytest.fixture
async def adapters() -> AsyncGenerator[Adapters]:
    resources = Resources()
    resources.add(Settings())
    async with open_adapters(resources) as opened:
        yield opened


async def asked(adapters: Adapters, server: Server, call: ModelCall) -> ModelReply:
    account = Account("embedded", "openai-compatible", f"{server.url}/v1")
    certain = call.model_copy(update={"max_tokens": call.max_tokens or 24, "temperature": 0.0})
    return await adapters.send(account, MODEL, certain, None)


async def test_labels_and_data_are_forced_by_the_grammar(embedded_model: Server, adapters: Adapters) -> None:
    """So small a model would hardly follow a schema by itself; its first answer can be used nevertheless."""
    schema: JsonObject = {
        "type": "object",
        "properties": {"name": {"type": "string", "maxLength": 20}, "age": {"type": "integer"}},
        "required": ["name", "age"],
        "additionalProperties": False,
    }
    for wanted in (OneOf(("weather", "sports")), Following(schema, JsonSchemas())):
        question = f"Ida is seven years old and plays football. {wanted.instruction}"
        call = ModelCall(messages=(Message(role="user", content=question),), schema_=wanted.schema, max_tokens=60)
        assert await wanted.read((await asked(adapters, embedded_model, call)).text)


@dataclass
class RealStage(ScriptedStage):
    """Gives real turns."""

    turns: TurnRunner = field(kw_only=True)
    ports: Ports = field(kw_only=True)

    async def turn(self, turn: Turn) -> Said:
        self.given.append(turn)
        return await self.turns.run(turn, self.ports)


@pytest.mark.parametrize("process", get_args(Process))
async def test_crews_think_with_it(embedded_model: Server, adapters: Adapters, process: Process) -> None:
    replies: list[ModelReply] = []

    async def ask(call: ModelCall) -> ModelReply:
        replies.append(await asked(adapters, embedded_model, call))
        return replies[-1]

    tasks = [task("line", "Write one line about {topic}.", agent="ben")]
    if process in EACH_TASK_HAS_ITS_AGENT:
        tasks.insert(0, task("fact", "Name one fact about the sea.", agent="ada"))
    stage = RealStage(
        crew(process, *tasks, agents="ada ben", rounds=1, inputs=[{"name": "topic"}]),
        lambda _: None,
        inputs={"topic": "waves"},
        turns=TurnRunner(JsonSchemas()),
        ports=Ports(ask, Toolbox()),
    )
    outcome = await run_process(stage)
    assert outcome.text
    assert len(replies) >= len(outcome.said)
    assert len(replies) >= 2 or process == "hierarchical"
    assert all(reply.tokens.input and reply.tokens.output for reply in replies)
