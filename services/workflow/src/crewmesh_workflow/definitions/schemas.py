"""Workflows, their drafts and their versions as callers see them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Literal, Self, TypeAlias

from crewmesh_contracts.base import Contract, JsonObject, Reply
from crewmesh_contracts.ids import RunId, WorkflowId
from crewmesh_contracts.workflow import Definition
from pydantic import Field

from crewmesh_workflow.definitions.diff import Diff
from crewmesh_workflow.program.errors import Mistake

WorkflowStatus: TypeAlias = Literal["active", "paused", "archived"]
Message = Annotated[str, Field(max_length=500, description="Why; it is shown in the list of versions.")]
VersionNumber = Annotated[int, Field(ge=1, le=2**31 - 1)]


class WorkflowSummary(Reply):
    """A workflow in a list."""

    id: WorkflowId
    name: str
    slug: str | None
    status: WorkflowStatus
    version: Annotated[int, Field(description="The newest published version; 0: it is only a draft yet.")]
    has_draft: Annotated[bool, Field(description="Whether a draft was saved since the last version was published.")]
    created_at: datetime
    updated_at: datetime


class Workflow(WorkflowSummary):
    """A workflow with the definition of its newest version."""

    definition: Annotated[Definition | None, Field(description="Null when nothing is published yet.")]
    draft_revision: int
    draft_differs: Annotated[bool, Field(description="Whether publishing would make a new version.")]


class MistakeAt(Reply):
    """Something wrong in a definition: where it is, and what to do."""

    path: Annotated[str, Field(description="nodes.<id>.<field>, edges.<number>, nodes.loop.body.nodes.<id>.<field>.")]
    message: str


class Created(Workflow):
    """The new workflow; of a draft, also what keeps it from being published."""

    mistakes: tuple[MistakeAt, ...] = ()


class Validity(Reply):
    valid: bool
    mistakes: tuple[MistakeAt, ...]

    @classmethod
    def of(cls, mistakes: Iterable[Mistake]) -> Self:
        told = mistakes_at(mistakes)
        return cls(valid=not told, mistakes=told)


class Draft(Validity):
    """What an editor works on. It is kept as it was sent, mistakes and all."""

    workflow: WorkflowId
    version: Annotated[int, Field(description="The published version; with revision it is the ETag.")]
    revision: int
    differs: Annotated[bool, Field(description="Whether publishing would make a new version.")]
    definition: JsonObject


class RunCounts(Reply):
    """Runs that have not ended."""

    queued: int = 0
    running: int = 0
    waiting: int = 0
    paused: int = 0


class LiveRuns(Reply):
    """Runs that stay with the version they started with."""

    version: int
    runs: RunCounts


class VersionSummary(Reply):
    """A version in a list."""

    version: int
    message: str
    published_by: str
    created_at: datetime
    published: Annotated[bool, Field(description="Whether new runs start with it.")]
    runs: RunCounts


class Version(Reply):
    """A version never changes."""

    workflow: WorkflowId
    version: int
    message: str
    published_by: str
    created_at: datetime
    definition: Definition


class Published(Reply):
    """What came of publishing. Runs that have begun stay with their version until they are moved."""

    workflow: WorkflowId
    version: int
    draft_revision: int
    changed: Annotated[bool, Field(description="False: the content is that of the published version, which stays.")]
    detail: str
    waiting: Annotated[tuple[LiveRuns, ...], Field(description="Runs that have not ended on earlier versions.")]


class PublishRequest(Contract):
    message: Message = ""


class RollbackRequest(Contract):
    version: VersionNumber
    message: Message = ""


class StatusRequest(Contract):
    status: WorkflowStatus


class MoveRequest(Contract):
    """Which runs go on with another version."""

    to: Annotated[VersionNumber | None, Field(description="By default the published version.")] = None
    dry_run: Annotated[bool, Field(description="Only tell which could be moved.")] = True
    runs: Annotated[tuple[RunId, ...] | None, Field(max_length=200, description="By default all of them.")] = None
    cursor: Annotated[str | None, Field(max_length=500, description="next_cursor of the answer before.")] = None


class RunLeft(Reply):
    run: RunId
    reasons: tuple[str, ...]


class Moved(Reply):
    """Runs that were moved, or could be (dry_run), and those that stay, each with why."""

    from_version: int
    to_version: int
    dry_run: bool
    moved: tuple[RunId, ...]
    left: tuple[RunLeft, ...]
    next_cursor: str | None


class File(Contract):
    """A definition as it stands in a repository of files."""

    path: Annotated[str, Field(min_length=1, max_length=400, description="Its name: .json is JSON, others are YAML.")]
    content: str


class ApplyRequest(Contract):
    files: Annotated[tuple[File, ...], Field(min_length=1, max_length=500)]
    dry_run: Annotated[bool, Field(description="Only tell what would be done.")] = False
    prune: Annotated[bool, Field(description="Archive workflows that files brought and these do not name.")] = False
    message: Message = ""


class Applied(Reply):
    """What is done (or would be) with one workflow."""

    slug: str
    path: Annotated[str | None, Field(description="The file; null for what is archived.")]
    workflow: Annotated[WorkflowId | None, Field(description="Null for what would be created.")]
    action: Literal["create", "update", "unchanged", "archive"]
    version: Annotated[int, Field(description="The published version then.")]
    changes: Annotated[Diff | None, Field(description="For updates: what is different.")] = None
    restored: Annotated[bool, Field(description="Whether it was archived and is active again.")] = False


class Plan(Reply):
    applied: bool
    plan: tuple[Applied, ...]


def mistakes_at(mistakes: Iterable[Mistake]) -> tuple[MistakeAt, ...]:
    return tuple(MistakeAt(path=mistake.path, message=mistake.message) for mistake in mistakes)
