"""The knowledge service, wired."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from pathlib import Path

from crewmesh_contracts.events import OrganizationCreated
from crewmesh_kit.app import Service
from crewmesh_kit.dapr.sidecar import Sidecar
from crewmesh_kit.owned_data.forgetting import by_age
from crewmesh_kit.sharing.endpoints import access_router
from crewmesh_kit.sharing.service import open_sharing
from crewmesh_kit.signals import open_signals
from fastapi import FastAPI

from crewmesh_knowledge.access import KNOWLEDGE_BASE
from crewmesh_knowledge.bases import endpoints as bases
from crewmesh_knowledge.bases.service import base_id, open_bases
from crewmesh_knowledge.documents import endpoints as documents
from crewmesh_knowledge.documents.indexing import Indexer, open_indexer
from crewmesh_knowledge.documents.service import open_documents
from crewmesh_knowledge.embedding import open_embedder
from crewmesh_knowledge.memories import endpoints as memories
from crewmesh_knowledge.memories.service import open_memories
from crewmesh_knowledge.search import endpoints as search
from crewmesh_knowledge.search.service import open_search
from crewmesh_knowledge.seed.subscriptions import on_organization_event
from crewmesh_knowledge.settings import KnowledgeSettings

MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"


def create_app(settings: KnowledgeSettings | None = None, sidecar: Sidecar | None = None) -> FastAPI:
    settings = settings or KnowledgeSettings()
    service = Service(
        "knowledge", settings, title="Crewmesh knowledge", version=version("crewmesh-knowledge"), sidecar=sidecar
    )
    service.database(migrations=MIGRATIONS)

    service.lifetime(partial(open_embedder, settings=settings.embedding))
    service.lifetime(open_signals)
    service.lifetime(open_sharing)
    service.lifetime(open_bases)
    service.lifetime(partial(open_indexer, settings=settings.indexing))
    service.lifetime(partial(open_documents, settings=settings))
    service.lifetime(open_search)
    service.lifetime(open_memories)
    service.background("indexing", lambda resources: resources.get(Indexer).run())

    service.subscribe(topic=OrganizationCreated.topic, handler=on_organization_event)
    service.owned_data(by_age("memories", table="memories", column="at"))
    service.routes(
        bases.router, documents.router, search.router, memories.router, access_router(KNOWLEDGE_BASE, base_id)
    )
    return service.app
