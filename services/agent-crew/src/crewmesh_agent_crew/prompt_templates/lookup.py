"""Finding the templates that definitions are written with."""

from __future__ import annotations

from collections.abc import Collection

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_agent_crew.prompt_templates.errors import PromptTemplateExists, UnknownPromptTemplate
from crewmesh_agent_crew.prompt_templates.models import PromptTemplateDefinition, PromptUse
from crewmesh_agent_crew.records.mistakes import read_kept
from crewmesh_agent_crew.records.repository import RecordRepository
from crewmesh_agent_crew.records.schemas import Record
from crewmesh_agent_crew.records.shelf import Shelf

PROMPT_TEMPLATES = Shelf(
    noun="prompt template",
    path="prompt-templates",
    prefix="prompt",
    action="prompt-template",
    table="prompt_templates",
    history="prompt_template_history",
    adding="Add a prompt template: a text with variables. Agents and tasks say ``prompt: {use: its-name}``.",
    model=PromptTemplateDefinition,
    record=Record[PromptTemplateDefinition],
    unknown=UnknownPromptTemplate,
    taken=PromptTemplateExists,
    reserved=("import",),
)


async def templates(
    connection: AsyncConnection[DictRow], organization: str, uses: Collection[PromptUse], *, hold: bool = False
) -> dict[tuple[str, int | None], PromptTemplateDefinition]:
    """By name and, where one is asked for, version. Held ones stay until the transaction ends."""
    repository = RecordRepository(connection, organization, PROMPT_TEMPLATES)
    found: dict[tuple[str, int | None], PromptTemplateDefinition] = {}
    for stored in await repository.named({use.use for use in uses}, lock="FOR SHARE" if hold else ""):
        called = f"prompt template {stored.name!r}"
        found[stored.name, None] = read_kept(PromptTemplateDefinition, stored.definition, called)
        for version in {use.version for use in uses if use.use == stored.name and use.version is not None}:
            old = await repository.version(stored.id, version)
            if old is not None:
                in_version = f"{called} in version {version}"
                found[stored.name, version] = read_kept(PromptTemplateDefinition, old.definition, in_version)
    return found
