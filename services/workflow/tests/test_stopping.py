"""The engine's loops end when the service stops, also where a client swallows the first cancellation."""

from __future__ import annotations

import asyncio

import pytest
from crewmesh_kit.background import Background
from crewmesh_testkit.identities import ORGANIZATION
from crewmesh_workflow.engine.control import Control
from psycopg.rows import DictRow

from services.workflow.tests.conftest import Bench
from services.workflow.tests.test_control import ASKING, YES, search


class Deaf:
    """A call that takes for ever, and swallows the first cancellation as clients may before Python 3.12."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()

    async def __call__(self, *_: object) -> list[DictRow]:
        self.reached.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return []
        raise AssertionError("nothing ends it but a cancellation")


async def nothing(*_: object) -> None:
    """Nobody is told."""


async def refuse(*_: object) -> None:
    raise RuntimeError("there is no such driver")


@pytest.mark.parametrize("where", ["a driver is woken", "a run is made due", "holders are told to look"])
async def test_what_follows_ends(idle: Bench, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    deaf, database = Deaf(), idle.database
    at_work = where == "holders are told to look"

    async def call(*_: object) -> None:
        await deaf()

    control = Control(
        database,
        raise_event=call if where == "a driver is woken" else refuse,
        look=call if at_work else nothing,
        nudge=lambda: None,
        drive_here=lambda _: False,
    )
    run = await idle.start(await idle.save(*(([search()],) if at_work else ASKING)))
    if where == "a run is made due":
        monkeypatch.setattr(database, "statement", deaf)
    background = Background()
    background.supervise("control", control.run)
    async with database.tenant(ORGANIZATION) as conn:
        assert await (control.cancel(conn, run) if at_work else control.arrive(conn, run, "ok", YES))
    async with asyncio.timeout(60):
        await deaf.reached.wait()
        await background.close()
