"""SQL of knowledge bases. Row-level security narrows every statement to the organization of the connection."""

from __future__ import annotations

from crewmesh_kit.ids import new_id
from crewmesh_kit.sharing.rules import Reach
from psycopg import AsyncConnection
from psycopg.rows import DictRow, class_row

from crewmesh_knowledge.bases.schemas import KnowledgeBase, NewKnowledgeBase


async def add(connection: AsyncConnection[DictRow], organization: str, new: NewKnowledgeBase) -> KnowledgeBase | None:
    """The new base, or none when the name is taken."""
    async with connection.cursor(row_factory=class_row(KnowledgeBase)) as cursor:
        await cursor.execute(
            """
            INSERT INTO knowledge_bases (id, org_id, name, description) VALUES (%s, %s, %s, %s)
            ON CONFLICT (org_id, name) DO NOTHING
            RETURNING id, name, description, created_at
            """,
            (new_id("kb"), organization, new.name, new.description),
        )
        return await cursor.fetchone()


async def named(connection: AsyncConnection[DictRow], organization: str, name: str) -> KnowledgeBase | None:
    async with connection.cursor(row_factory=class_row(KnowledgeBase)) as cursor:
        await cursor.execute(
            "SELECT id, name, description, created_at FROM knowledge_bases WHERE org_id = %s AND name = %s",
            (organization, name),
        )
        return await cursor.fetchone()


async def after(
    connection: AsyncConnection[DictRow], organization: str, reach: Reach, name: str, limit: int
) -> list[KnowledgeBase]:
    """Bases in reach whose name follows ``name``, by name."""
    async with connection.cursor(row_factory=class_row(KnowledgeBase)) as cursor:
        await cursor.execute(
            """
            SELECT id, name, description, created_at FROM knowledge_bases
            WHERE org_id = %(org)s AND name > %(name)s
                AND (%(only)s::text[] IS NULL OR id = ANY(%(only)s)) AND id <> ALL(%(but)s::text[])
            ORDER BY name LIMIT %(limit)s
            """,
            {"org": organization, "name": name, "limit": limit, **reach.parameters},
        )
        return await cursor.fetchall()
