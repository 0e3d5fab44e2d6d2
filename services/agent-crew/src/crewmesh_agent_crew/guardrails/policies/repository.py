"""The SQL of policies. Row-level security keeps every statement within the transaction's organization."""

from __future__ import annotations

from collections.abc import Sequence

from crewmesh_kit.ids import new_id
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from crewmesh_agent_crew.guardrails.policies.models import PolicyDefinition
from crewmesh_agent_crew.guardrails.policies.schemas import Policy

_COLUMNS = "id, version, definition, created_at, changed_at AS updated_at"


class PolicyRepository:
    def __init__(self, connection: AsyncConnection[DictRow]) -> None:
        self._connection = connection

    async def add(self, organization: str, definition: PolicyDefinition) -> Policy | None:
        """The new policy; none when the name is taken."""
        cursor = await self._connection.execute(
            "INSERT INTO policies (org_id, id, name, tag, definition) VALUES (%s, %s, %s, %s, %s)"
            f" ON CONFLICT (org_id, name) DO NOTHING RETURNING {_COLUMNS}",
            [organization, new_id("pol"), definition.name, definition.tag, _json(definition)],
        )
        row = await cursor.fetchone()
        return None if row is None else Policy.model_validate(row)

    async def find(self, name: str, *, to_change: bool = False) -> Policy | None:
        locked = " FOR UPDATE" if to_change else ""
        cursor = await self._connection.execute(f"SELECT {_COLUMNS} FROM policies WHERE name = %s{locked}", [name])
        row = await cursor.fetchone()
        return None if row is None else Policy.model_validate(row)

    async def replace(self, definition: PolicyDefinition) -> Policy:
        cursor = await self._connection.execute(
            "UPDATE policies SET tag = %s, definition = %s, version = version + 1, changed_at = now()"
            f" WHERE name = %s RETURNING {_COLUMNS}",
            [definition.tag, _json(definition), definition.name],
        )
        return Policy.model_validate(await cursor.fetchone())

    async def delete(self, name: str) -> None:
        await self._connection.execute("DELETE FROM policies WHERE name = %s", [name])

    async def list_after(self, name: str | None, limit: int, tag: str | None) -> list[Policy]:
        """By name, up to ``limit``."""
        cursor = await self._connection.execute(
            f"SELECT {_COLUMNS} FROM policies WHERE name > %(after)s AND (%(tag)s::text IS NULL OR tag = %(tag)s)"
            " ORDER BY name LIMIT %(limit)s",
            {"after": name or "", "limit": limit, "tag": tag},
        )
        return [Policy.model_validate(row) for row in await cursor.fetchall()]

    async def all(self) -> list[PolicyDefinition]:
        cursor = await self._connection.execute("SELECT definition FROM policies ORDER BY name")
        return [PolicyDefinition.model_validate(row["definition"]) for row in await cursor.fetchall()]

    async def pinned(
        self, organization: str, crew_run: str, place: str, policies: Sequence[PolicyDefinition]
    ) -> list[PolicyDefinition]:
        """Those that held when the turn at ``place`` began; these, when it begins now."""
        kept = Jsonb([policy.model_dump(mode="json") for policy in policies])
        cursor = await self._connection.execute(
            "INSERT INTO turn_policies (org_id, place, crew_run, policies) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (org_id, place) DO UPDATE SET place = excluded.place RETURNING policies",
            [organization, place, crew_run, kept],
        )
        row = await cursor.fetchone()
        return [] if row is None else [PolicyDefinition.model_validate(each) for each in row["policies"]]

    async def count(self) -> int:
        row = await (await self._connection.execute("SELECT count(*) AS n FROM policies")).fetchone()
        return 0 if row is None else int(row["n"])


def _json(definition: PolicyDefinition) -> Jsonb:
    return Jsonb(definition.model_dump(mode="json"))
