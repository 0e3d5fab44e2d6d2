"""What the public API shows of policies."""

from __future__ import annotations

from datetime import datetime

from crewmesh_contracts.base import Reply

from crewmesh_agent_crew.guardrails.policies.models import PolicyDefinition


class Policy(Reply):
    """``version`` is also its ETag."""

    id: str
    version: int
    definition: PolicyDefinition
    created_at: datetime
    updated_at: datetime
