"""What the gateway asks a service about an organization's data.

Annotations are not postponed here: they name what each router is made for.
"""

from typing import Annotated

from crewmesh_contracts.invocations.owned_data import (
    EXPORT,
    WOULD_FORGET,
    ExportPage,
    ExportRequest,
    RetentionAnswer,
    RetentionQuestion,
)
from fastapi import APIRouter

from crewmesh_kit.db.database import Database
from crewmesh_kit.identity import Identity, requires
from crewmesh_kit.owned_data.export import export_page
from crewmesh_kit.owned_data.forgetting import Forgetting
from crewmesh_kit.resources import provided


def owned_data_router(app_id: str) -> APIRouter:
    router = APIRouter(include_in_schema=False)
    exporting, asking = EXPORT[app_id], WOULD_FORGET[app_id]

    @router.post(exporting.path)
    async def export(
        request: ExportRequest,
        identity: Annotated[Identity, requires(exporting.permission)],
        database: Annotated[Database, provided(Database)],
    ) -> ExportPage:
        return await export_page(database, identity.organization, request.cursor)

    @router.post(asking.path)
    async def would_forget(
        question: RetentionQuestion,
        identity: Annotated[Identity, requires(asking.permission)],
        forgetting: Annotated[Forgetting, provided(Forgetting)],
    ) -> RetentionAnswer:
        count = await forgetting.would_forget(identity.organization, question.kind, question.days)
        return RetentionAnswer(count=count)

    _ = export, would_forget
    return router
