"""Everything about who is asking, in one statement. It comes before any organization: the system's view."""

from __future__ import annotations

import json
from collections.abc import Iterable
from ipaddress import ip_network
from typing import cast

from crewmesh_contracts import permissions
from crewmesh_kit.db.database import Database
from crewmesh_kit.identity import Identity
from psycopg.rows import DictRow

from crewmesh_gateway.api_keys.models import PresentedKey
from crewmesh_gateway.principals.models import NOWHERE, AccessClaims, Principal

# Bytes of the names of groups in the tokens for services; sidecars take heads of 16 KiB.
_MOST_OF_A_HEAD = 4096

_ABOUT = """
    o.id AS organization, o.plan, o.status = 'deleting' AS deleting, o.delete_after, o.allowlist::text[] AS allowlist,
    r.permissions AS custom, r.name AS role_name,
    (SELECT coalesce(jsonb_object_agg(t.id, t.name), '{}') FROM team_members p
     JOIN teams t ON t.org_id = p.org_id AND t.id = p.team_id
     WHERE p.org_id = o.id AND p.user_id = m.user_id) AS teams
"""
_BY_KEY = f"""
SELECT k.id AS credential, k.user_id, k.service_account_id, k.secret_sha256, k.permissions AS scopes,
       LEAST(k.expires_at, k.revoked_at) AS ends_at, COALESCE(m.role, a.role) AS role, {_ABOUT}
FROM api_keys k
JOIN organizations o ON o.id = k.org_id
LEFT JOIN memberships m ON m.org_id = k.org_id AND m.user_id = k.user_id
LEFT JOIN service_accounts a ON a.org_id = k.org_id AND a.id = k.service_account_id
LEFT JOIN roles r ON r.org_id = k.org_id AND r.id = COALESCE(m.role, a.role)
WHERE k.prefix = %(prefix)s AND (k.revoked_at IS NULL OR k.revoked_at > now())
      AND (k.expires_at IS NULL OR k.expires_at > now())
"""
_BY_SESSION = f"""
SELECT s.id AS credential, s.user_id, NULL AS service_account_id, NULL AS scopes, s.expires_at AS ends_at, m.role,
       {_ABOUT}
FROM sessions s
JOIN memberships m ON m.user_id = s.user_id AND m.org_id = %(organization)s
JOIN organizations o ON o.id = m.org_id
LEFT JOIN roles r ON r.org_id = m.org_id AND r.id = m.role
WHERE s.id = %(session)s AND s.user_id = %(user)s AND s.revoked_at IS NULL AND s.expires_at > now()
"""
_ON_THEIR_OWN = """
SELECT id AS credential, user_id, expires_at AS ends_at FROM sessions
WHERE id = %(session)s AND user_id = %(user)s AND revoked_at IS NULL AND expires_at > now()
"""


class PrincipalRepository:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def by_key(self, shown: PresentedKey) -> Principal | None:
        """Whose key it is, when the secret is right and the key still holds."""
        rows = await self._database.statement(_BY_KEY.encode(), {"prefix": shown.prefix})
        return _principal(rows[0]) if rows and shown.proves(bytes(rows[0]["secret_sha256"])) else None

    async def by_session(self, claims: AccessClaims) -> Principal | None:
        """The person, while the session lasts and, where it is in an organization, the membership does."""
        parameters = {"session": claims.session, "user": claims.user, "organization": claims.organization}
        if claims.organization is None:
            rows = await self._database.statement(_ON_THEIR_OWN.encode(), parameters)
            return _on_their_own(rows[0]) if rows else None
        rows = await self._database.statement(_BY_SESSION.encode(), parameters)
        return _principal(rows[0]) if rows else None


def _principal(row: DictRow) -> Principal:
    credential, user = cast(str, row["credential"]), cast("str | None", row["user_id"])
    behind = user or cast(str, row["service_account_id"])
    is_person = row["scopes"] is None
    identity = Identity(
        organization=row["organization"],
        subject=behind if is_person else credential,
        permissions=_permissions(row),
        groups=frozenset({f"role:{row['role']}", *(f"team:{team}" for team in row["teams"])}),
        acting_for=None if is_person else behind,
        group_names=group_names(row["role_name"], row["teams"].values()),
    )
    return Principal(
        identity=identity,
        credential=credential,
        user=user,
        role=row["role"],
        plan=row["plan"],
        deleting=row["deleting"],
        delete_after=row["delete_after"],
        allowlist=tuple(ip_network(each) for each in row["allowlist"]),
        expires_at=row["ends_at"],
    )


def group_names(role: str | None, teams: Iterable[str]) -> frozenset[str]:
    """The custom role and the teams as people call them. What looks like an id is none: it would be another's.

    A request's head has a largest size, and a name can be long: who is in very many teams goes by some of the names.
    """
    named = [("role", role), *(("team", team) for team in sorted(teams))]
    kept, size = set[str](), 0
    for kind, name in named:
        if name is None or name.startswith(f"{kind}_"):
            continue
        called = f"{kind}:{name}"
        size += len(json.dumps(called)) + 1
        if size <= _MOST_OF_A_HEAD:
            kept.add(called)
    return frozenset(kept)


def _on_their_own(row: DictRow) -> Principal:
    """Somebody who belongs to no organization. How often they may ask is what the default plan says."""
    return Principal(
        identity=Identity(NOWHERE, row["user_id"], frozenset()),
        credential=row["credential"],
        user=row["user_id"],
        role="",
        plan="",
        deleting=False,
        allowlist=(),
        expires_at=row["ends_at"],
    )


def _permissions(row: DictRow) -> frozenset[str]:
    """What the role allows; of that, what the key was made for."""
    custom = cast("list[str] | None", row["custom"])
    allowed = permissions.of_role(row["role"]) if custom is None else frozenset(custom)
    scopes = cast("list[str] | None", row["scopes"])
    return allowed if scopes is None else permissions.both(frozenset(scopes), allowed)
