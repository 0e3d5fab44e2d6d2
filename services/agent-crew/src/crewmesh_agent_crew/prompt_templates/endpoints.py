"""Prompt templates over HTTP."""

from __future__ import annotations

from typing import Annotated

from crewmesh_kit.app import provided
from crewmesh_kit.http.pagination import Page, PageQuery
from crewmesh_kit.identity import Identity, requires
from fastapi import APIRouter

from crewmesh_agent_crew.prompt_templates.lookup import PROMPT_TEMPLATES
from crewmesh_agent_crew.prompt_templates.schemas import PromptTemplateSummary, Rendered, RenderRequest
from crewmesh_agent_crew.prompt_templates.service import PromptTemplates
from crewmesh_agent_crew.records.endpoints import ArchivedOnes, Prefix, Tag, record_routers
from crewmesh_agent_crew.records.repository import Filters
from crewmesh_agent_crew.records.routes import Ref

router = APIRouter(prefix="/v1/prompt-templates", tags=["prompt-templates"])
records = record_routers(PROMPT_TEMPLATES, PromptTemplates)

Reader = Annotated[Identity, requires("crews:read")]
Templates = Annotated[PromptTemplates, provided(PromptTemplates)]


@router.get("")
async def list_prompt_templates(
    identity: Reader,
    templates: Templates,
    page: PageQuery,
    prefix: Prefix = "",
    tag: Tag = None,
    archived: ArchivedOnes = False,
) -> Page[PromptTemplateSummary]:
    """List the organization's prompt templates, by name."""
    return await templates.page(identity, Filters(prefix, tag, archived=archived), page)


@router.post("/{ref}/render")
async def render_prompt_template(ref: Ref, request: RenderRequest, identity: Reader, templates: Templates) -> Rendered:
    """Fill the text in, to see what an agent would read. Nothing is changed."""
    return await templates.render(identity, ref, request)
