"""Reading who a principal is, with the eyes of its own organization where there is one."""

from __future__ import annotations

from crewmesh_kit.db.database import Database
from crewmesh_kit.errors import NotFound
from psycopg.rows import DictRow

from crewmesh_gateway.me.schemas import KeyView, Me, OrganizationView, ServiceAccountView, UserView
from crewmesh_gateway.principals.models import Principal

_ME = """
SELECT o.name AS organization, u.id AS user_id, u.name AS person, u.email, u.email_verified_at IS NOT NULL AS verified,
       a.id AS account_id, a.name AS account, k.id AS key_id, k.name AS key, k.prefix, k.created_at,
       k.last_used_at, k.expires_at
FROM organizations o
LEFT JOIN users u ON u.id = %(user)s
LEFT JOIN api_keys k ON k.id = %(credential)s
LEFT JOIN service_accounts a ON a.id = k.service_account_id
WHERE o.id = %(organization)s
"""
_ON_THEIR_OWN = """
SELECT id AS user_id, name AS person, email, email_verified_at IS NOT NULL AS verified FROM users WHERE id = %(user)s
"""


class MeRepository:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, principal: Principal) -> Me:
        return await (self._in_organization(principal) if principal.has_organization else self._on_their_own(principal))

    async def _on_their_own(self, principal: Principal) -> Me:
        rows = await self._database.statement(_ON_THEIR_OWN.encode(), {"user": principal.user})
        if not rows:
            raise NotFound("This person was removed a moment ago.")
        return Me(
            organization=None,
            user=_user(rows[0]),
            service_account=None,
            key=None,
            role=None,
            permissions=[],
            teams=[],
        )

    async def _in_organization(self, principal: Principal) -> Me:
        asked = {
            "user": principal.user,
            "credential": principal.credential,
            "organization": principal.organization,
        }
        async with self._database.tenant(principal.organization) as connection:
            row = await (await connection.execute(_ME, asked)).fetchone()
        if row is None:
            raise NotFound("The organization was deleted a moment ago.")
        return Me(
            organization=OrganizationView(id=principal.organization, name=row["organization"]),
            user=_user(row),
            service_account=_account(row),
            key=_key(row),
            role=principal.role,
            permissions=sorted(principal.identity.permissions),
            teams=sorted(
                group.removeprefix("team:") for group in principal.identity.groups if group.startswith("team:")
            ),
        )


def _user(row: DictRow) -> UserView | None:
    if row["user_id"] is None:
        return None
    return UserView(id=row["user_id"], name=row["person"], email=row["email"], email_verified=row["verified"])


def _account(row: DictRow) -> ServiceAccountView | None:
    return ServiceAccountView(id=row["account_id"], name=row["account"]) if row["account_id"] else None


def _key(row: DictRow) -> KeyView | None:
    if row["key_id"] is None:
        return None
    return KeyView(
        id=row["key_id"],
        name=row["key"],
        prefix=row["prefix"],
        created_at=row["created_at"],
        last_used_at=row["last_used_at"],
        expires_at=row["expires_at"],
    )
