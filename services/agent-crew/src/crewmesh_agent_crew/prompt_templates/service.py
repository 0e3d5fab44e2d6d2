"""What can be done with prompt templates. One that somebody writes with cannot be archived."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import cast

from crewmesh_contracts.base import JsonObject
from crewmesh_kit.app import Resources
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.http.pagination import Page, PageRequest
from crewmesh_kit.identity import Identity
from crewmesh_kit.sharing.service import Sharing
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_agent_crew.crews.uses import Uses
from crewmesh_agent_crew.prompt_templates.lookup import PROMPT_TEMPLATES
from crewmesh_agent_crew.prompt_templates.models import PromptTemplateDefinition
from crewmesh_agent_crew.prompt_templates.schemas import PromptTemplateSummary, Rendered, RenderRequest
from crewmesh_agent_crew.records.errors import UnknownRecordVersion
from crewmesh_agent_crew.records.mistakes import InvalidDefinition, Mistake
from crewmesh_agent_crew.records.repository import Filters, Stored
from crewmesh_agent_crew.records.service import Records


class PromptTemplates(Records[PromptTemplateDefinition]):
    async def used_by(self, connection: AsyncConnection[DictRow], identity: Identity, name: str) -> Sequence[str]:
        return await Uses(connection, self.sharing, identity).of_prompt(name)

    async def page(self, identity: Identity, filters: Filters, wanted: PageRequest) -> Page[PromptTemplateSummary]:
        found = await self.found(identity, filters, wanted)
        return wanted.page([_summary(stored) for stored in found], lambda template: (template.name,))

    async def render(self, identity: Identity, ref: str, request: RenderRequest) -> Rendered:
        """As an agent or a task would read it."""
        async with self.database.tenant(identity.organization) as connection:
            stored = await self.reached(connection, identity, ref, None)
            number = request.version or stored.version
            version = await self.repository(connection, identity).version(stored.id, number)
        if version is None:
            raise UnknownRecordVersion(self.shelf.path, ref, number)
        template = self.read(version.definition)
        misfits = template.misfits(request.variables)
        if misfits:
            raise InvalidDefinition([Mistake(f"variables.{name}", message) for name, message in misfits])
        return Rendered(text=template.rendered(request.variables), version=number)


def _summary(stored: Stored) -> PromptTemplateSummary:
    variables = cast("list[JsonObject]", stored.definition.get("variables", []))
    return PromptTemplateSummary.model_validate(
        {**stored.definition, **stored.listed(), "variables": [variable["name"] for variable in variables]}
    )


@asynccontextmanager
async def open_prompt_templates(resources: Resources) -> AsyncGenerator[PromptTemplates]:
    yield PromptTemplates(PROMPT_TEMPLATES, resources.get(Database), resources.get(Idempotency), resources.get(Sharing))
