"""What is needed for what is done with one knowledge base and its documents. Who may see one may search in it."""

from __future__ import annotations

from crewmesh_contracts.invocations import SEARCH
from crewmesh_kit.sharing.models import Kind, Need

KNOWLEDGE_BASE = Kind("knowledge-base", path="knowledge-bases", called="knowledge base")

SEE = Need(KNOWLEDGE_BASE, "view", SEARCH.permission, seeing=SEARCH.permission)
CHANGE = Need(KNOWLEDGE_BASE, "edit", "knowledge:write", seeing=SEARCH.permission)
