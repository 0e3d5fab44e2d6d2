"""The routes that are the same for every kind of record: its history, and its archive.

The annotations of these handlers are made while the routes are, so they are not postponed here.
"""

from typing import Annotated

from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import IdempotencyKey
from crewmesh_kit.http.etags import IfMatch
from crewmesh_kit.http.pagination import Page, PageQuery
from crewmesh_kit.identity import Identity
from fastapi import APIRouter, Response
from fastapi.params import Depends

from crewmesh_agent_crew.records.endpoints import Ref, VersionNumber, tagged
from crewmesh_agent_crew.records.models import DefinitionT
from crewmesh_agent_crew.records.schemas import Diff, Record, RollbackRequest, Version, VersionSummary
from crewmesh_agent_crew.records.service import Records
from crewmesh_agent_crew.records.shelf import Shelf


def history_router(
    shelf: Shelf[DefinitionT], service: type[Records[DefinitionT]], *, see: Depends, change: Depends
) -> APIRouter:
    """``see`` and ``change``: what a route asks of who comes, as ``requires`` and ``reaching`` say it."""
    router = APIRouter(prefix=f"/v1/{shelf.path}/{{ref}}", tags=[shelf.path])
    _archiving(router, shelf, service, change)
    _versions(router, shelf, service, see)
    _going_back(router, shelf, service, change)
    return router


def _archiving(
    router: APIRouter, shelf: Shelf[DefinitionT], service: type[Records[DefinitionT]], change: Depends
) -> None:
    @router.delete("", status_code=204, summary=f"Archive {shelf.noun}", name=f"archive_{shelf.table}")
    async def archive(
        ref: Ref,
        identity: Annotated[Identity, change],
        records: Annotated[Records[DefinitionT], provided(service)],
        if_match: IfMatch = None,
    ) -> None:
        """Take it out of lists and give its name back. It stays to be read under its id, and can be restored."""
        await records.archive(identity, ref, if_match=if_match)

    @router.post(
        "/restore", response_model=shelf.record, summary=f"Restore {shelf.noun}", name=f"restore_{shelf.table}"
    )
    async def restore(
        ref: Ref,
        identity: Annotated[Identity, change],
        records: Annotated[Records[DefinitionT], provided(service)],
        response: Response,
    ) -> Record[DefinitionT]:
        """Bring an archived one back under its name, if nobody took that meanwhile. It goes by its id until then."""
        return tagged(await records.restore(identity, ref), response)

    _ = archive, restore


def _versions(router: APIRouter, shelf: Shelf[DefinitionT], service: type[Records[DefinitionT]], see: Depends) -> None:
    @router.get("/versions", summary=f"List versions of {shelf.noun}", name=f"list_versions_of_{shelf.table}")
    async def list_versions(
        ref: Ref,
        identity: Annotated[Identity, see],
        records: Annotated[Records[DefinitionT], provided(service)],
        page: PageQuery,
    ) -> Page[VersionSummary]:
        """List the versions, the newest first."""
        return page.page(await records.versions(identity, ref, page), lambda version: (version.version,))

    @router.get("/versions/{version}", summary=f"Get version of {shelf.noun}", name=f"get_version_of_{shelf.table}")
    async def get_version(
        ref: Ref,
        version: VersionNumber,
        identity: Annotated[Identity, see],
        records: Annotated[Records[DefinitionT], provided(service)],
    ) -> Version:
        """Get a version with its definition."""
        return await records.version(identity, ref, version)

    @router.get(
        "/versions/{before}/diff/{after}",
        summary=f"Compare versions of {shelf.noun}",
        name=f"diff_versions_of_{shelf.table}",
    )
    async def diff_versions(
        ref: Ref,
        before: VersionNumber,
        after: VersionNumber,
        identity: Annotated[Identity, see],
        records: Annotated[Records[DefinitionT], provided(service)],
    ) -> Diff:
        """Tell what differs between two versions, field by field."""
        return await records.diff(identity, ref, before, after)

    _ = list_versions, get_version, diff_versions


def _going_back(
    router: APIRouter, shelf: Shelf[DefinitionT], service: type[Records[DefinitionT]], change: Depends
) -> None:
    @router.post(
        "/rollback", response_model=shelf.record, summary=f"Roll back {shelf.noun}", name=f"roll_back_{shelf.table}"
    )
    async def roll_back(
        ref: Ref,
        request: RollbackRequest,
        identity: Annotated[Identity, change],
        records: Annotated[Records[DefinitionT], provided(service)],
        response: Response,
        if_match: IfMatch = None,
        key: IdempotencyKey = None,
    ) -> Record[DefinitionT]:
        """Make a new version with the content of an old one."""
        return tagged(await records.roll_back(identity, ref, request, if_match=if_match, key=key), response)

    _ = roll_back
