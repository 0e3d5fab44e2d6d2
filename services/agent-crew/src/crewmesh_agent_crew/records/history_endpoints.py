"""The routes that show the history of records of every kind, go back in it, and lead into the archive and out of it.

The annotations of these handlers are made while the routes are, so they are not postponed here.
"""

from typing import Annotated

from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import IdempotencyKey
from crewmesh_kit.http.etags import IfMatch
from crewmesh_kit.http.pagination import Page, PageQuery
from crewmesh_kit.identity import Identity
from fastapi import APIRouter, Response

from crewmesh_agent_crew.records.models import DefinitionT
from crewmesh_agent_crew.records.routes import Asks, Ref, VersionNumber, tagged
from crewmesh_agent_crew.records.schemas import Diff, Record, RollbackRequest, Version, VersionSummary
from crewmesh_agent_crew.records.service import Records
from crewmesh_agent_crew.records.shelf import Shelf


def history_router(shelf: Shelf[DefinitionT], service: type[Records[DefinitionT]], asks: Asks) -> APIRouter:
    router = APIRouter(prefix=f"/v1/{shelf.path}/{{ref}}", tags=[shelf.path])
    _archiving(router, shelf, service, asks)
    _versions(router, shelf, service, asks)
    _going_back(router, shelf, service, asks)
    return router


def _archiving(router: APIRouter, shelf: Shelf[DefinitionT], service: type[Records[DefinitionT]], asks: Asks) -> None:
    @router.delete("", status_code=204, name=f"archive_{shelf.one}")
    async def archive(
        ref: Ref,
        identity: Annotated[Identity, asks.change],
        records: Annotated[Records[DefinitionT], provided(service)],
        if_match: IfMatch = None,
    ) -> None:
        """Take it out of lists and give its name back. It stays to be read under its id, and can be restored."""
        await records.archive(identity, ref, if_match=if_match)

    @router.post("/restore", response_model=shelf.record, name=f"restore_{shelf.one}")
    async def restore(
        ref: Ref,
        identity: Annotated[Identity, asks.change],
        records: Annotated[Records[DefinitionT], provided(service)],
        response: Response,
    ) -> Record[DefinitionT]:
        """Bring an archived one back under its name, if nobody took that meanwhile. It goes by its id until then."""
        return tagged(await records.restore(identity, ref), response)

    _ = archive, restore


def _versions(router: APIRouter, shelf: Shelf[DefinitionT], service: type[Records[DefinitionT]], asks: Asks) -> None:
    @router.get("/versions", name=f"list_versions_of_{shelf.one}")
    async def list_versions(
        ref: Ref,
        identity: Annotated[Identity, asks.see],
        records: Annotated[Records[DefinitionT], provided(service)],
        page: PageQuery,
    ) -> Page[VersionSummary]:
        """List the versions, the newest first."""
        return page.page(await records.versions(identity, ref, page), lambda version: (version.version,))

    @router.get("/versions/{version}", name=f"get_version_of_{shelf.one}")
    async def get_version(
        ref: Ref,
        version: VersionNumber,
        identity: Annotated[Identity, asks.see],
        records: Annotated[Records[DefinitionT], provided(service)],
    ) -> Version:
        """Get a version with its definition."""
        return await records.version(identity, ref, version)

    @router.get("/versions/{before}/diff/{after}", name=f"compare_versions_of_{shelf.one}")
    async def compare_versions(
        ref: Ref,
        before: VersionNumber,
        after: VersionNumber,
        identity: Annotated[Identity, asks.see],
        records: Annotated[Records[DefinitionT], provided(service)],
    ) -> Diff:
        """Tell what differs between two versions, field by field."""
        return await records.diff(identity, ref, before, after)

    _ = list_versions, get_version, compare_versions


def _going_back(router: APIRouter, shelf: Shelf[DefinitionT], service: type[Records[DefinitionT]], asks: Asks) -> None:
    @router.post("/rollback", response_model=shelf.record, name=f"roll_back_{shelf.one}")
    async def roll_back(
        ref: Ref,
        request: RollbackRequest,
        identity: Annotated[Identity, asks.change],
        records: Annotated[Records[DefinitionT], provided(service)],
        response: Response,
        if_match: IfMatch = None,
        key: IdempotencyKey = None,
    ) -> Record[DefinitionT]:
        """Make a new version with the content of an old one."""
        return tagged(await records.roll_back(identity, ref, request, if_match=if_match, key=key), response)

    _ = roll_back
