"""The audit log inside the running gateway."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from crewmesh_contracts.events import AuditRecorded
from crewmesh_kit.app import Service
from crewmesh_kit.db.database import Database
from crewmesh_kit.resources import Resources

from crewmesh_gateway.audit import endpoints
from crewmesh_gateway.audit.denials import Denials, open_denials
from crewmesh_gateway.audit.recognition import Recognition
from crewmesh_gateway.audit.retention import keep_removing_old_lines
from crewmesh_gateway.audit.service import AuditLog
from crewmesh_gateway.audit.subscriptions import on_audit_event
from crewmesh_gateway.audit.watch import DenialWatch
from crewmesh_gateway.audit.writing import Gathering
from crewmesh_gateway.sessions.access_tokens import AccessTokens


def install(service: Service) -> None:
    """After the door is open: who was refused is asked there."""
    service.subscribe(topic=AuditRecorded.topic, handler=on_audit_event)
    service.lifetime(open_audit_log)
    service.lifetime(open_denials)
    service.background("counted refusals", lambda resources: resources.get(Denials).keep_looking())
    service.background("old audit lines", keep_removing_old_lines)
    service.routes(endpoints.router)
    service.app.add_middleware(DenialWatch, resources=service.resources)


@asynccontextmanager
async def open_audit_log(resources: Resources) -> AsyncGenerator[AuditLog]:
    audit_log = AuditLog(resources.get(Database))
    resources.add(Gathering(audit_log.append))
    resources.add(Recognition(resources.get(Database), resources.get(AccessTokens)))
    yield audit_log
