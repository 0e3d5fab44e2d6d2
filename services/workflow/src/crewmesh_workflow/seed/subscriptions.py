"""The topic ``organizations``: a new organization is given its first workflow, once."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from crewmesh_contracts.events import CloudEvent, OrganizationCreated
from crewmesh_contracts.workflow import Definition
from crewmesh_kit.db import inbox
from crewmesh_kit.db.database import Database
from crewmesh_kit.resources import Resources

from crewmesh_workflow.definitions.service import Definitions

CONSUMER = "workflow.seed"
SEED = "answer-a-question"


async def on_organization_event(resources: Resources, event: CloudEvent) -> None:
    if event.type != OrganizationCreated.type():
        return
    created = OrganizationCreated.model_validate(event.data)
    async with resources.get(Database).tenant(created.organization) as conn:
        if await inbox.first_time(conn, CONSUMER, event):
            await resources.get(Definitions).plant(conn, created.organization, SEED, answer_a_question())


@cache
def answer_a_question() -> Definition:
    text = files("crewmesh_workflow.seed").joinpath("answer_a_question.json").read_text(encoding="utf-8")
    return Definition.model_validate_json(text)
