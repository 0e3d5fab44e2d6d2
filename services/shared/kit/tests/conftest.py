"""The kit's probe, started once per test file that wants it."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio
from crewmesh_testkit import PostgresServer
from crewmesh_testkit.probe import Probe, running_probe


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def probe(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Probe]:
    async with running_probe(postgres, tmp_path_factory.mktemp("probe")) as probe:
        yield probe
