"""The rows that the first start writes."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_gateway.api_keys.models import PresentedKey

# Any number that nothing else in this schema locks on.
_ONLY_ONE_FIRST_RUN = 0x4352_4557


@dataclass(frozen=True, slots=True, kw_only=True)
class Founding:
    """Everything that exists after the first start."""

    organization_id: str
    organization: str
    owner_id: str
    owner: str
    key_id: str
    key: PresentedKey
    permissions: tuple[str, ...]


async def organization_exists(connection: AsyncConnection[DictRow]) -> bool:
    cursor = await connection.execute("SELECT FROM organizations LIMIT 1")
    return await cursor.fetchone() is not None


async def wait_for_turn(connection: AsyncConnection[DictRow]) -> None:
    """Replicas that start together found one after another; the lock ends with the transaction."""
    await connection.execute("SELECT pg_advisory_xact_lock(%s)", (_ONLY_ONE_FIRST_RUN,))


async def write(connection: AsyncConnection[DictRow], founding: Founding) -> None:
    await connection.execute(
        "INSERT INTO organizations (id, name) VALUES (%s, %s)", (founding.organization_id, founding.organization)
    )
    await connection.execute("INSERT INTO users (id, name) VALUES (%s, %s)", (founding.owner_id, founding.owner))
    await connection.execute(
        "INSERT INTO memberships (org_id, user_id, role) VALUES (%s, %s, 'owner')",
        (founding.organization_id, founding.owner_id),
    )
    await connection.execute(
        """
        INSERT INTO api_keys (id, org_id, user_id, name, prefix, secret_sha256, permissions)
        VALUES (%s, %s, %s, 'First key', %s, %s, %s)
        """,
        (
            founding.key_id,
            founding.organization_id,
            founding.owner_id,
            founding.key.prefix,
            founding.key.digest(),
            list(founding.permissions),
        ),
    )
