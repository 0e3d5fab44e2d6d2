"""Reading who a key speaks for, with the eyes of its own organization."""

from __future__ import annotations

from crewmesh_kit.db.database import Database
from crewmesh_kit.errors import NotFound

from crewmesh_gateway.api_keys.models import ApiKey
from crewmesh_gateway.me.schemas import KeyView, Me, OrganizationView, UserView


class MeRepository:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, key: ApiKey) -> Me:
        async with self._database.tenant(key.organization) as connection:
            cursor = await connection.execute(
                """
                SELECT organizations.name AS organization, users.name AS person, memberships.role,
                       api_keys.created_at, api_keys.last_used_at
                FROM api_keys
                JOIN organizations ON organizations.id = api_keys.org_id
                JOIN users ON users.id = api_keys.user_id
                JOIN memberships USING (org_id, user_id)
                WHERE api_keys.id = %s
                """,
                (key.id,),
            )
            row = await cursor.fetchone()
        if row is None:
            raise NotFound("This key was deleted a moment ago; use another one.")
        return Me(
            organization=OrganizationView(id=key.organization, name=row["organization"]),
            user=UserView(id=key.user, name=row["person"], role=row["role"]),
            key=KeyView(
                id=key.id,
                name=key.name,
                prefix=key.prefix,
                permissions=sorted(key.permissions),
                created_at=row["created_at"],
                last_used_at=row["last_used_at"],
                expires_at=key.expires_at,
            ),
        )
