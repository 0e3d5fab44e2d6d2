"""Who it was that was not let in: a key that was revoked or has expired, a login that was ended.

Only asked after a refusal. Whoever shows a wrong secret is nobody: a line about them would tell of somebody else.
"""

from __future__ import annotations

from collections.abc import Mapping

from crewmesh_kit.db.database import Database
from crewmesh_kit.identity import Identity

from crewmesh_gateway.api_keys.models import BEGINNING, PresentedKey
from crewmesh_gateway.sessions.access_tokens import AccessTokens

_KEY = """
SELECT id, org_id, COALESCE(user_id, service_account_id) AS behind, secret_sha256
FROM api_keys WHERE prefix = %(prefix)s
"""
_STANDS = "SELECT id FROM organizations WHERE id = %(organization)s"
_LONGEST = 4096


class Recognition:
    def __init__(self, database: Database, tokens: AccessTokens) -> None:
        self._database = database
        self._tokens = tokens

    async def of(self, headers: Mapping[str, str]) -> Identity | None:
        text = _shown(headers)
        if not text or len(text) > _LONGEST:
            return None
        return await (self._by_key(text) if text.startswith(BEGINNING) else self._by_token(text))

    async def _by_key(self, text: str) -> Identity | None:
        shown = PresentedKey.parse(text)
        rows = await self._database.statement(_KEY.encode(), {"prefix": shown.prefix}) if shown else []
        if shown is None or not rows or not shown.proves(bytes(rows[0]["secret_sha256"])):
            return None
        return Identity(rows[0]["org_id"], rows[0]["id"], frozenset(), acting_for=rows[0]["behind"])

    async def _by_token(self, text: str) -> Identity | None:
        """A token of ours that has not expired: its login was ended, or its person left the organization."""
        claims = await self._tokens.read(text)
        if claims is None or claims.organization is None:
            return None
        # One that was erased has no log any more, and gets none.
        stands = await self._database.statement(_STANDS.encode(), {"organization": claims.organization})
        return Identity(claims.organization, claims.user, frozenset()) if stands else None


def _shown(headers: Mapping[str, str]) -> str:
    authorization = headers.get("authorization")
    if authorization is None:
        return headers.get("x-api-key", "").strip()
    scheme, _, text = authorization.partition(" ")
    return text.strip() if scheme.lower() == "bearer" else ""
