"""What tests see of a running gateway from within: the parts it holds, and what is in its database."""

from __future__ import annotations

from typing import TypeVar

from crewmesh_kit.db.database import Database
from crewmesh_kit.resources import Resources
from fastapi import FastAPI
from psycopg.rows import DictRow

T = TypeVar("T")


def held(app: FastAPI, kind: type[T]) -> T:
    resources: Resources = app.state.resources
    return resources.get(kind)


async def rows(app: FastAPI, query: str, *parameters: object) -> list[DictRow]:
    async with held(app, Database).system() as conn:
        cursor = await conn.execute(query.encode(), parameters)
        assert cursor.description, "a query without columns would find nothing, whatever there is"
        return await cursor.fetchall()


async def change(app: FastAPI, statement: str, *parameters: object) -> None:
    async with held(app, Database).system() as conn:
        await conn.execute(statement.encode(), parameters)
