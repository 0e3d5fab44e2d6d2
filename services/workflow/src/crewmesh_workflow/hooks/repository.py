"""SQL of webhooks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from crewmesh_contracts.workflow.triggers.webhook import WebhookTrigger
from crewmesh_kit.db.database import Database
from psycopg.rows import DictRow

# Of any organization: whoever calls a webhook has nothing but its address.
_FIND = """
SELECT id, org_id, key, workflow_id, workflow_version, config, enabled, secret_generation, address_generation,
    secret_rotated_at
FROM triggers WHERE id = %(id)s AND kind = 'webhook'
"""


@dataclass(frozen=True, slots=True)
class Hook:
    """A webhook as it is stored."""

    id: str
    organization: str
    key: str
    workflow: str
    version: int
    config: WebhookTrigger
    enabled: bool
    secret_generation: int
    address_generation: int
    rotated_at: datetime | None


async def find(database: Database, trigger: str) -> Hook | None:
    rows = await database.statement(_FIND, {"id": trigger})
    return hook_of(rows[0]) if rows else None


def hook_of(row: DictRow) -> Hook:
    return Hook(
        id=row["id"],
        organization=row["org_id"],
        key=row["key"],
        workflow=row["workflow_id"],
        version=row["workflow_version"],
        config=WebhookTrigger.model_validate(row["config"]),
        enabled=row["enabled"],
        secret_generation=row["secret_generation"],
        address_generation=row["address_generation"],
        rotated_at=row["secret_rotated_at"],
    )
