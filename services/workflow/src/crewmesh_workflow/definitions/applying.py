"""Workflows as files in a repository: what is there is made so, all of it or nothing.

A file is known by the slug in it. What files brought can be taken away by files that do not name it any more (prune);
what people made by hand is never touched for not being in a file. Drafts stay what they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from crewmesh_contracts.base import Contract, JsonObject
from crewmesh_contracts.workflow import Definition
from crewmesh_kit import audit
from crewmesh_kit.documents.reading import UnreadableDocument
from crewmesh_kit.identity import Identity
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_workflow.access import CHANGE
from crewmesh_workflow.audited import definition_changed
from crewmesh_workflow.definitions import publishing, repository
from crewmesh_workflow.definitions.changes import Changes
from crewmesh_workflow.definitions.checking import check, check_aside
from crewmesh_workflow.definitions.diff import diff
from crewmesh_workflow.definitions.documents import notation_of_file, read_document
from crewmesh_workflow.definitions.errors import InvalidDefinition, InvalidFiles, SlugTaken
from crewmesh_workflow.definitions.normal import spelled_out
from crewmesh_workflow.definitions.repository import Stored
from crewmesh_workflow.definitions.schemas import Applied, ApplyRequest, File, Plan, WorkflowStatus
from crewmesh_workflow.program.errors import Mistake

_ALONE = "SELECT pg_advisory_xact_lock(hashtextextended('apply ' || %s, 0))"
_NO_SLUG = Mistake("slug", "this is missing; by its slug the workflow is known from now on, so add one")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file that can be applied."""

    path: str
    slug: str
    definition: Definition


class Sent(Contract):
    document: JsonObject


class Applying:
    def __init__(self, changes: Changes) -> None:
        self._changes = changes

    async def apply(self, identity: Identity, request: ApplyRequest, *, key: str | None) -> Plan:
        wanted = await asyncio.to_thread(read_files, request.files)

        async def apply(conn: AsyncConnection[DictRow]) -> Plan:
            doing = _Doing(conn, identity, request.message)
            slugs = sorted(file.slug for file in wanted)
            there = await self._reached(conn, identity, await doing.there(slugs))
            surplus = await repository.applied_but(conn, identity.organization, slugs) if request.prune else []
            reach = await self._changes.sharing.reach(conn, identity, CHANGE)
            surplus = [stored for stored in surplus if stored.id in reach]
            plan = await asyncio.to_thread(_plans, wanted, there)
            if not request.dry_run:
                plan = [
                    await doing.apply(file, there.get(file.slug), step) for file, step in zip(wanted, plan, strict=True)
                ]
                for step in plan:
                    await repository.mark_applied(conn, str(step.workflow))
                for stored in surplus:
                    await doing.archive(stored)
            return Plan(applied=not request.dry_run, plan=(*plan, *(_archived(stored) for stored in surplus)))

        return await self._changes.once(identity, "workflows/apply", key, request, Plan, apply)

    async def import_(self, identity: Identity, document: JsonObject, *, key: str | None) -> Applied:
        """One definition, by hand: files do not take it away."""
        checked = await check_aside(document)
        mistakes = _with_slug(document, checked.mistakes)
        definition = checked.definition
        if mistakes or definition is None or definition.slug is None:
            raise InvalidDefinition(mistakes)
        wanted = Wanted("", definition.slug, definition)

        async def import_(conn: AsyncConnection[DictRow]) -> Applied:
            doing = _Doing(conn, identity, "Imported.")
            stored = (await self._reached(conn, identity, await doing.there([wanted.slug]))).get(wanted.slug)
            return await doing.apply(wanted, stored, plan_for(wanted, stored))

        return await self._changes.once(identity, "workflows/import", key, Sent(document=document), Applied, import_)

    async def _reached(
        self, conn: AsyncConnection[DictRow], identity: Identity, there: dict[str, Stored]
    ) -> dict[str, Stored]:
        """A slug stands for one workflow: who may not change that one cannot have another with it."""
        for slug, stored in there.items():
            await self._changes.sharing.ensure(conn, identity, CHANGE, stored.id, unknown=SlugTaken(slug))
        return there


def read_files(files: Sequence[File]) -> list[Wanted]:
    """What the files say; InvalidFiles with every mistake of every file."""
    mistakes: list[tuple[str, Mistake]] = []
    wanted: dict[str, Wanted] = {}
    for file in files:
        read = _read(file, mistakes)
        if read is None:
            continue
        if read.slug in wanted:
            other = wanted[read.slug].path
            mistakes.append((file.path, Mistake("slug", f"{other} has the slug {read.slug!r} as well; choose another")))
        wanted.setdefault(read.slug, read)
    if mistakes:
        raise InvalidFiles(mistakes)
    return list(wanted.values())


def _read(file: File, mistakes: list[tuple[str, Mistake]]) -> Wanted | None:
    try:
        document = read_document(file.content, notation_of_file(file.path))
    except UnreadableDocument as error:
        mistakes.append((file.path, Mistake("", error.reason)))
        return None
    checked = check(document)
    mistakes.extend((file.path, mistake) for mistake in _with_slug(document, checked.mistakes))
    definition = checked.definition
    if definition is None or definition.slug is None:
        return None
    return Wanted(file.path, definition.slug, definition)


def _with_slug(document: JsonObject, mistakes: Sequence[Mistake]) -> Sequence[Mistake]:
    """The mistakes, and that there is no slug, which only a file needs."""
    return mistakes if document.get("slug") is not None else (*mistakes, _NO_SLUG)


def _plans(wanted: Sequence[Wanted], there: Mapping[str, Stored]) -> list[Applied]:
    return [plan_for(file, there.get(file.slug)) for file in wanted]


def plan_for(file: Wanted, stored: Stored | None) -> Applied:
    """What a file means for the workflow of its slug, if there is one."""
    if stored is None:
        return Applied(slug=file.slug, path=file.path or None, workflow=None, action="create", version=1)
    changes = diff(stored.definition or {}, spelled_out(file.definition))
    restored = stored.status == "archived"
    return Applied(
        slug=file.slug,
        path=file.path or None,
        workflow=stored.id,
        action="unchanged" if changes.same and not restored else "update",
        version=stored.version if changes.same else stored.version + 1,
        changes=None if changes.same else changes,
        restored=restored,
    )


def _archived(stored: Stored) -> Applied:
    return Applied(slug=stored.slug or "", path=None, workflow=stored.id, action="archive", version=stored.version)


@dataclass(frozen=True, slots=True)
class _Doing:
    """A plan is carried out, in one transaction."""

    conn: AsyncConnection[DictRow]
    identity: Identity
    message: str

    async def there(self, slugs: list[str]) -> dict[str, Stored]:
        """What is there of it, locked, while no others apply."""
        await self.conn.execute(_ALONE, [self.identity.organization])
        return await repository.with_slugs(self.conn, self.identity.organization, slugs)

    async def apply(self, file: Wanted, stored: Stored | None, step: Applied) -> Applied:
        organization, by = self.identity.organization, self.identity.subject
        if stored is None:
            added = await repository.add(self.conn, organization, file.definition, message=self.message, by=by)
            done = step.model_copy(update={"workflow": None if added is None else added.id})
            await self._record(done, None, file.definition)
            return done
        if step.changes is not None:
            await publishing.publish(
                self.conn, organization, stored.id, step.version, file.definition, message=self.message, by=by
            )
        if step.restored:
            await self._set_status(stored, "active", step.version, file.definition)
        if step.action != "unchanged":
            await self._record(step, stored, file.definition)
        return step

    async def archive(self, stored: Stored) -> None:
        definition = None if stored.definition is None else Definition.model_validate(stored.definition)
        await self._set_status(stored, "archived", stored.version, definition)
        left_out: JsonObject = {"status": "archived", "because": "no file names it any more"}
        await audit.record(self.conn, self.identity, "workflow.archived", stored.id, after=left_out)

    async def _record(self, step: Applied, stored: Stored | None, definition: Definition) -> None:
        """For the audit log: what a file made of a workflow."""
        await definition_changed(
            self.conn,
            self.identity,
            "workflow.applied" if step.path else "workflow.imported",
            str(step.workflow),
            content=(None if stored is None else stored.definition, spelled_out(definition)),
            before=None if stored is None else {"version": stored.version, "status": stored.status},
            after={"slug": step.slug, "path": step.path, "action": step.action, "version": step.version},
        )

    async def _set_status(
        self, stored: Stored, status: WorkflowStatus, version: int, definition: Definition | None
    ) -> None:
        await publishing.set_status(
            self.conn,
            self.identity.organization,
            stored.id,
            status,
            version=version,
            definition=definition,
            slug=stored.slug,
        )
