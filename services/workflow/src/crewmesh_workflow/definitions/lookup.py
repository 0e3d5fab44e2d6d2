"""What other features ask of a workflow: may it be started, with which version, and what does its draft say."""

from __future__ import annotations

from dataclasses import dataclass

from crewmesh_contracts.base import JsonObject
from crewmesh_contracts.workflow import Definition
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_workflow.definitions import repository
from crewmesh_workflow.definitions.checking import runnable
from crewmesh_workflow.definitions.errors import NothingPublished, UnknownWorkflow, WorkflowNotActive
from crewmesh_workflow.definitions.repository import Stored


@dataclass(frozen=True, slots=True)
class Startable:
    """The version that new runs start with, as JSON of its definition."""

    workflow: str
    version: int
    definition: JsonObject


@dataclass(frozen=True, slots=True)
class DraftToTest:
    """A draft that can run, and which one it was."""

    workflow: str
    revision: int
    definition: Definition


async def existing(conn: AsyncConnection[DictRow], organization: str, workflow: str, *, lock: bool = False) -> Stored:
    """By id or slug; UnknownWorkflow when there is none."""
    found = await repository.find(conn, organization, workflow, lock=lock)
    if found is None:
        raise UnknownWorkflow(workflow)
    return found


async def startable(conn: AsyncConnection[DictRow], organization: str, workflow: str) -> Startable:
    """By id or slug; a problem that says what to do when it may not be started."""
    found = await existing(conn, organization, workflow)
    if found.status != "active":
        raise WorkflowNotActive(found.id, found.status)
    if found.definition is None:
        raise NothingPublished(found.id)
    return Startable(found.id, found.version, found.definition)


async def draft_to_test(conn: AsyncConnection[DictRow], organization: str, workflow: str) -> DraftToTest:
    """The draft, or the published version where there is no other; InvalidDefinition when it could not run."""
    found = await existing(conn, organization, workflow)
    return DraftToTest(found.id, found.draft_revision, await runnable(found.edited))
