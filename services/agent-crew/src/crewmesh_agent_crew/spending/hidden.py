"""Whose names usage and budgets do not tell: those of crews and agents that are restricted, and not shared with who
asks."""

from __future__ import annotations

from dataclasses import dataclass, replace

from crewmesh_kit.identity import Identity
from crewmesh_kit.sharing.models import Need
from crewmesh_kit.sharing.service import Sharing
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_agent_crew.access import AGENT, CREW

_TOLD = "usage:read"
_CREWS = Need(CREW, "view", _TOLD, seeing=_TOLD)
_AGENTS = Need(AGENT, "view", _TOLD, seeing=_TOLD)

# What is archived has given its name back, but calls keep it.
_NAMES = """
SELECT 'crew' AS of, definition ->> 'name' AS name FROM crews WHERE id = ANY(%(crews)s)
UNION SELECT 'agent', definition ->> 'name' FROM agents WHERE id = ANY(%(agents)s)
UNION SELECT 'member', member ->> 'name' FROM crews, jsonb_array_elements(definition -> 'agents') AS member
      WHERE id = ANY(%(crews)s) AND member ? 'name'
"""


@dataclass(frozen=True, slots=True)
class Hidden:
    """Names. ``members``: agents written down in these crews, which may also be asked without their crew."""

    crews: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    members: tuple[str, ...] = ()

    @property
    def nothing(self) -> bool:
        return not self.crews and not self.agents


async def hidden_from(conn: AsyncConnection[DictRow], sharing: Sharing, identity: Identity) -> Hidden:
    # What is not restricted is told to whoever may read what it cost, also to those who may read nothing else.
    reader = replace(identity, permissions=identity.permissions | {_TOLD})
    crews = (await sharing.reach(conn, reader, _CREWS)).but
    agents = (await sharing.reach(conn, reader, _AGENTS)).but
    if not crews and not agents:
        return Hidden()
    rows = await (await conn.execute(_NAMES, {"crews": list(crews), "agents": list(agents)})).fetchall()

    def named(of: str) -> tuple[str, ...]:
        return tuple(row["name"] for row in rows if row["of"] == of)

    return Hidden(named("crew"), named("agent"), named("member"))
