"""The SQL of models and aliases. Row-level security keeps every statement within the transaction's organization."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crewmesh_kit.ids import new_id
from psycopg import AsyncConnection
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from crewmesh_agent_crew.catalogue.definitions import OwnModel
from crewmesh_agent_crew.catalogue.models import Prices
from crewmesh_agent_crew.catalogue.schemas import PriceChange

_MOST_PRICES = 200


@dataclass(frozen=True, slots=True)
class KeptModel:
    id: str
    name: str
    version: int
    own: OwnModel


@dataclass(frozen=True, slots=True)
class KeptAlias:
    id: str
    name: str
    version: int
    models: tuple[str, ...]


class CatalogueRepository:
    def __init__(self, connection: AsyncConnection[DictRow]) -> None:
        self._connection = connection

    async def models(self) -> list[KeptModel]:
        cursor = await self._connection.execute("SELECT id, name, version, definition FROM models ORDER BY name")
        return [_model(row) for row in await cursor.fetchall()]

    async def put_model(self, organization: str, name: str, own: OwnModel) -> KeptModel:
        cursor = await self._connection.execute(
            "INSERT INTO models (org_id, name, id, definition, price_version) VALUES (%s, %s, %s, %s, %s)"
            " ON CONFLICT (org_id, name) DO UPDATE SET definition = excluded.definition,"
            " price_version = excluded.price_version, version = models.version + 1, changed_at = now()"
            " RETURNING id, name, version, definition",
            [organization, name, new_id("mdl"), Jsonb(own.model_dump(mode="json")), own.price_version],
        )
        row = await cursor.fetchone()
        assert row is not None
        return _model(row)

    async def delete_model(self, name: str) -> None:
        await self._connection.execute("DELETE FROM models WHERE name = %s", [name])

    async def add_price(self, organization: str, name: str, prices: Prices) -> int:
        """The version that the prices have from now on. Versions go on where those of a deleted model ended."""
        cursor = await self._connection.execute(
            "INSERT INTO model_prices (org_id, name, version, prices)"
            " SELECT %(organization)s, %(name)s, coalesce(max(version), 0) + 1, %(prices)s FROM model_prices"
            " WHERE org_id = %(organization)s AND name = %(name)s RETURNING version",
            {"organization": organization, "name": name, "prices": Jsonb(prices.model_dump(mode="json"))},
        )
        row = await cursor.fetchone()
        assert row is not None
        return int(row["version"])

    async def prices(self, name: str) -> list[PriceChange]:
        """The latest first."""
        cursor = await self._connection.execute(
            "SELECT name || '@' || version AS price_version, prices, since FROM model_prices WHERE name = %s"
            " ORDER BY version DESC LIMIT %s",
            [name, _MOST_PRICES],
        )
        return [PriceChange.model_validate(row) for row in await cursor.fetchall()]

    async def aliases(self) -> list[KeptAlias]:
        cursor = await self._connection.execute("SELECT id, name, version, models FROM model_aliases ORDER BY name")
        return [_alias(row) for row in await cursor.fetchall()]

    async def put_alias(self, organization: str, name: str, models: Sequence[str]) -> KeptAlias:
        cursor = await self._connection.execute(
            "INSERT INTO model_aliases (org_id, name, id, models) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (org_id, name) DO UPDATE SET models = excluded.models,"
            " version = model_aliases.version + 1, changed_at = now() RETURNING id, name, version, models",
            [organization, name, new_id("als"), list(models)],
        )
        row = await cursor.fetchone()
        assert row is not None
        return _alias(row)

    async def delete_alias(self, name: str) -> None:
        await self._connection.execute("DELETE FROM model_aliases WHERE name = %s", [name])

    async def lock(self, organization: str) -> None:
        """Names of models and aliases are checked against each other: one change at a time."""
        await self._connection.execute("SELECT pg_advisory_xact_lock(hashtext('models'), hashtext(%s))", [organization])


def _model(row: DictRow) -> KeptModel:
    return KeptModel(row["id"], row["name"], row["version"], OwnModel.model_validate(row["definition"]))


def _alias(row: DictRow) -> KeptAlias:
    return KeptAlias(row["id"], row["name"], row["version"], tuple(row["models"]))
