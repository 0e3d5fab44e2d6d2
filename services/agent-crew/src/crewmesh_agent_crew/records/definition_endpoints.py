"""The routes by which records of every kind are added, read and changed.

The annotations of these handlers are made while the routes are, so they are not postponed here. That of a body is set
by itself: to a type checker it is any definition, to FastAPI that of the kind.
"""

from typing import Annotated

from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import IdempotencyKey
from crewmesh_kit.http.etags import UNCHANGED, IfMatch, IfNoneMatch, answer_unchanged
from crewmesh_kit.identity import Identity
from fastapi import APIRouter, Response

from crewmesh_agent_crew.records.models import DefinitionT
from crewmesh_agent_crew.records.routes import Asks, Message, Ref, tagged
from crewmesh_agent_crew.records.schemas import Record
from crewmesh_agent_crew.records.service import Records
from crewmesh_agent_crew.records.shelf import Shelf


def definition_router(shelf: Shelf[DefinitionT], service: type[Records[DefinitionT]], asks: Asks) -> APIRouter:
    router = APIRouter(prefix=f"/v1/{shelf.path}", tags=[shelf.path])
    _adding(router, shelf, service, asks)
    _reading(router, shelf, service, asks)
    _changing(router, shelf, service, asks)
    return router


def _adding(router: APIRouter, shelf: Shelf[DefinitionT], service: type[Records[DefinitionT]], asks: Asks) -> None:
    async def create(
        definition: DefinitionT,
        identity: Annotated[Identity, asks.make],
        records: Annotated[Records[DefinitionT], provided(service)],
        response: Response,
        key: IdempotencyKey = None,
    ) -> Record[DefinitionT]:
        record = await records.create(identity, key, definition)
        response.headers["Location"] = f"/v1/{shelf.path}/{record.definition.name}"
        return tagged(record, response)

    create.__annotations__["definition"] = shelf.model
    name, description = f"create_{shelf.one}", shelf.adding
    router.post("", status_code=201, response_model=shelf.record, name=name, description=description)(create)


def _reading(router: APIRouter, shelf: Shelf[DefinitionT], service: type[Records[DefinitionT]], asks: Asks) -> None:
    @router.get("/{ref}", responses=UNCHANGED, response_model=shelf.record, name=f"get_{shelf.one}")
    async def get(
        ref: Ref,
        identity: Annotated[Identity, asks.see],
        records: Annotated[Records[DefinitionT], provided(service)],
        response: Response,
        if_none_match: IfNoneMatch = None,
    ) -> Record[DefinitionT]:
        """Get one with its definition."""
        record = await records.get(identity, ref)
        answer_unchanged(if_none_match, record.version, response)
        return record

    _ = get


def _changing(router: APIRouter, shelf: Shelf[DefinitionT], service: type[Records[DefinitionT]], asks: Asks) -> None:
    async def change(
        ref: Ref,
        definition: DefinitionT,
        identity: Annotated[Identity, asks.change],
        records: Annotated[Records[DefinitionT], provided(service)],
        response: Response,
        message: Message = "",
        if_match: IfMatch = None,
        key: IdempotencyKey = None,
    ) -> Record[DefinitionT]:
        """Replace the definition, as a new version. Work that has begun goes on with the version it began with."""
        changed = await records.change(identity, ref, definition, if_match=if_match, message=message, key=key)
        return tagged(changed, response)

    change.__annotations__["definition"] = shelf.model
    router.put("/{ref}", response_model=shelf.record, name=f"change_{shelf.one}")(change)
