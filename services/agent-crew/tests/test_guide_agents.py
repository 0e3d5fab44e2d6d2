"""The guide to agents is true: its files can be imported in the order in which they stand there."""

from __future__ import annotations

import re
from pathlib import Path

from crewmesh_agent_crew.crews.resolving import Resolver

from .harness import Running
from .records_api import Api

GUIDE = Path(__file__).parents[3] / "docs/guides/agents.md"
_FILE = re.compile(r"```yaml\n# POST /v1/([a-z-]+)/import\n(.*?)```", re.DOTALL)


async def test_every_file_of_the_guide_can_be_imported(service: Running) -> None:
    files = _FILE.findall(GUIDE.read_text(encoding="utf-8"))
    assert len(files) == 4
    for path, text in files:
        imported = await Api(service, path).import_(text)
        assert imported.status_code == 200, imported.text
        assert [item["change"] for item in imported.json()["items"]] == ["created"]
    resolver = service.resources.get(Resolver)
    async with service.database.tenant(service.organization) as connection:
        squad = (await resolver.pinned(connection, service.who("*"), "shop-squad")).definition
        writer = (await resolver.agent(connection, service.who("*"), "news-writer")).definition
    assert [task.agent for task in squad.tasks] == ["api-builder", "checker"]
    assert writer.backstory.startswith("Write for customers, in at most 200 words.\n")
