"""``GET`` and ``PUT /v1/<kind>/<resource>/access``, the same for every kind; and how routes ask for a level."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeAlias, cast

from fastapi import APIRouter, Path, Request, Response
from fastapi.params import Depends
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import IdempotencyKey
from crewmesh_kit.http.etags import IfMatch, etag_of
from crewmesh_kit.identity import Identity, Requires, requires
from crewmesh_kit.resources import Resources, provided
from crewmesh_kit.sharing.models import AccessRequest, Kind, Need, ResourceAccess
from crewmesh_kit.sharing.service import Sharing

MANAGE = "access:manage"

# From what a path says (organization, id or name) to the id; the service's own 404 when there is none.
Find: TypeAlias = Callable[[AsyncConnection[DictRow], str, str], Awaitable[str]]

_Manager = Annotated[Identity, requires(MANAGE)]
_Resource = Annotated[str, Path(min_length=1, max_length=100, description="Its id, or its name where it has one.")]
_TheSharing = Annotated[Sharing, provided(Sharing)]
_TheDatabase = Annotated[Database, provided(Database)]


class Reaching(Requires):
    """Whoever has the permission, and persons who were granted the level on any resource of the kind.

    On which one is for the handler to ask, of ``Sharing``.
    """

    def __init__(self, need: Need) -> None:
        super().__init__(need.permission)
        self._need = need

    async def __call__(self, request: Request) -> Identity:
        identity = await self.who(request)
        sharing = cast(Resources, request.app.state.resources).get(Sharing)
        if not await sharing.reaches_any(identity, self._need):
            self.check(identity)
        return identity


def reaching(need: Need) -> Depends:
    """``identity: Annotated[Identity, reaching(SEE)]``, where ``requires`` would turn away who has a grant."""
    return Depends(Reaching(need))


def access_router(kind: Kind, find: Find) -> APIRouter:
    """The two routes of a kind. Whoever manages access need not see the resource itself."""
    router = APIRouter(prefix=f"/v1/{kind.path}/{{resource}}/access", tags=["access"])

    @router.get("")
    async def get_access(
        resource: _Resource, identity: _Manager, sharing: _TheSharing, database: _TheDatabase, response: Response
    ) -> ResourceAccess:
        """Tell who may view, run and edit it, beyond what roles say for all of them."""
        async with database.tenant(identity.organization) as conn:
            id_ = await find(conn, identity.organization, resource)
            found = await sharing.get(conn, identity.organization, kind, id_)
        response.headers["ETag"] = etag_of(found.version)
        return found

    @router.put("")
    async def put_access(
        resource: _Resource,
        request: AccessRequest,
        identity: _Manager,
        sharing: _TheSharing,
        database: _TheDatabase,
        response: Response,
        if_match: IfMatch = None,
        key: IdempotencyKey = None,
    ) -> ResourceAccess:
        """Say who may view, run and edit it. Restricted: nobody else, but for owners and admins. It holds at once."""
        async with database.tenant(identity.organization) as conn:
            id_ = await find(conn, identity.organization, resource)
            changed = await sharing.put(conn, identity, kind, id_, request, if_match=if_match, key=key)
        response.headers["ETag"] = etag_of(changed.version)
        return changed

    _ = get_access, put_access
    return router
