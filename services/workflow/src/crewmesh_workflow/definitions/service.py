"""Saving and finding workflows. What is saved has been compiled, so it can run."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_contracts.workflow import Definition
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.http.pagination import Page, PageRequest
from crewmesh_kit.identity import Identity
from crewmesh_kit.resources import Resources
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_workflow.definitions import repository
from crewmesh_workflow.definitions.errors import InvalidDefinition, UnknownWorkflow
from crewmesh_workflow.definitions.schemas import Workflow, WorkflowSummary
from crewmesh_workflow.engine.payloads import storable
from crewmesh_workflow.engine.program import InvalidDefinitionError, Mistake, compile_program
from crewmesh_workflow.nodes import EFFECT_KINDS


class Definitions:
    def __init__(self, database: Database, idempotency: Idempotency) -> None:
        self._database = database
        self._idempotency = idempotency

    async def create(self, identity: Identity, definition: Definition, *, key: str | None) -> Workflow:
        check(definition)
        async with self._database.tenant(identity.organization) as conn:

            async def add() -> Workflow:
                added = await repository.add(conn, identity.organization, definition)
                if added is None:
                    raise LookupError("a workflow without a seed is always new")
                return added

            return await self._idempotency.once_in(
                conn, identity=identity, scope="workflows", key=key, request=definition, work=add, result=Workflow
            )

    async def plant(
        self, conn: AsyncConnection[DictRow], organization: str, seed: str, definition: Definition
    ) -> Workflow | None:
        """Starting content of an organization: added unless this seed was planted before."""
        return await repository.add(conn, organization, definition, seed=seed)

    async def get(self, identity: Identity, workflow: str) -> Workflow:
        async with self._database.tenant(identity.organization) as conn:
            found = await repository.get(conn, identity.organization, workflow)
        if found is None:
            raise UnknownWorkflow(workflow)
        return found

    async def page(self, identity: Identity, page: PageRequest) -> Page[WorkflowSummary]:
        after = page.after(str)
        before = str(after[0]) if after else None
        async with self._database.tenant(identity.organization) as conn:
            found = await repository.page(conn, identity.organization, before, page.limit + 1)
        return page.page(found, lambda workflow: (workflow.id,))


def check(definition: Definition) -> None:
    """InvalidDefinition with everything that is wrong."""
    try:
        if not storable(definition.model_dump(mode="json", by_alias=True)):
            raise InvalidDefinitionError([Mistake("", "the definition holds a text with a NUL character, or NaN")])
        compile_program(definition, EFFECT_KINDS)
    except InvalidDefinitionError as error:
        raise InvalidDefinition(error) from error


@asynccontextmanager
async def open_definitions(resources: Resources) -> AsyncGenerator[Definitions]:
    yield Definitions(resources.get(Database), resources.get(Idempotency))
