"""Prompt templates over HTTP."""

from __future__ import annotations

from typing import Annotated

from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import IdempotencyKey
from crewmesh_kit.http.etags import UNCHANGED, IfMatch, IfNoneMatch
from crewmesh_kit.http.pagination import Page, PageQuery
from crewmesh_kit.identity import Identity, requires
from fastapi import APIRouter, Response

from crewmesh_agent_crew.prompt_templates.lookup import PROMPT_TEMPLATES
from crewmesh_agent_crew.prompt_templates.models import PromptTemplateDefinition
from crewmesh_agent_crew.prompt_templates.schemas import (
    PromptTemplate,
    PromptTemplateSummary,
    Rendered,
    RenderRequest,
)
from crewmesh_agent_crew.prompt_templates.service import PromptTemplates
from crewmesh_agent_crew.records.endpoints import (
    ArchivedOnes,
    Message,
    Prefix,
    Ref,
    Tag,
    created,
    tagged,
    unless_current,
)
from crewmesh_agent_crew.records.file_endpoints import file_router
from crewmesh_agent_crew.records.history_endpoints import history_router
from crewmesh_agent_crew.records.repository import Filters

router = APIRouter(prefix="/v1/prompt-templates", tags=["prompt-templates"])

Reader = Annotated[Identity, requires("crews:read")]
Writer = Annotated[Identity, requires("crews:write")]
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


@router.post("", status_code=201)
async def create_prompt_template(
    definition: PromptTemplateDefinition,
    identity: Writer,
    templates: Templates,
    response: Response,
    key: IdempotencyKey = None,
) -> PromptTemplate:
    """Add a prompt template: a text with variables. Agents and tasks say ``prompt: {use: its-name}``."""
    return created(await templates.create(identity, key, definition), response, PROMPT_TEMPLATES.path)


@router.get("/{ref}", responses=UNCHANGED)
async def get_prompt_template(
    ref: Ref, identity: Reader, templates: Templates, response: Response, if_none_match: IfNoneMatch = None
) -> PromptTemplate:
    """Get a prompt template with its text."""
    return unless_current(await templates.get(identity, ref), if_none_match, response)


@router.put("/{ref}")
async def change_prompt_template(
    ref: Ref,
    definition: PromptTemplateDefinition,
    identity: Writer,
    templates: Templates,
    response: Response,
    message: Message = "",
    if_match: IfMatch = None,
    key: IdempotencyKey = None,
) -> PromptTemplate:
    """Replace the text and its variables, as a new version. Whoever asked for a version keeps that."""
    changed = await templates.change(identity, ref, definition, if_match=if_match, message=message, key=key)
    return tagged(changed, response)


@router.post("/{ref}/render")
async def render_prompt_template(ref: Ref, request: RenderRequest, identity: Reader, templates: Templates) -> Rendered:
    """Fill the text in, to see what an agent would read. Nothing is changed."""
    return await templates.render(identity, ref, request)


history = history_router(PROMPT_TEMPLATES, PromptTemplates, see=requires("crews:read"), change=requires("crews:write"))
files = file_router(PROMPT_TEMPLATES, PromptTemplates, see=requires("crews:read"), make=requires("crews:write"))
