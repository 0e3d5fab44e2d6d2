"""Access tokens: ES256 JWTs that name a person, an organization (null: none) and a session, for some minutes.

What a token may look like is fixed: three header members and no other, one algorithm, a key of ours. So there is
nothing in a header that a stranger could choose: no other algorithm, no key of his own, no extension.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Literal

from crewmesh_kit.ids import uuid7_hex
from joserfc import jws, jwt
from joserfc.errors import JoseError
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from crewmesh_gateway.principals.models import AccessClaims
from crewmesh_gateway.settings import TokenSettings
from crewmesh_gateway.signing_keys.models import ALGORITHM
from crewmesh_gateway.signing_keys.service import SigningKeys

ISSUER = "crewmesh"
AUDIENCE = "crewmesh-api"
LONGEST_SECONDS = 600
# Replicas' clocks may differ by this much.
_SKEW_SECONDS = 5
_LONGEST_TEXT = 2000
_TYPE = "at+jwt"
# Three parts, the last of them 64 bytes in the one way there is to write them: decoders skip what does not belong
# there, so that one token would be good in any number of spellings.
_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{85}[AQgw]")

_Id = Annotated[str, Field(min_length=5, max_length=100)]


class _Claims(BaseModel):
    """Exactly what we write, each of its own type."""

    model_config = ConfigDict(strict=True, extra="forbid")

    iss: Literal["crewmesh"]
    aud: Literal["crewmesh-api"]
    sub: _Id
    org: _Id | None
    sid: _Id
    jti: _Id
    iat: int
    exp: int

    def holds(self, now: float) -> bool:
        return self.iat <= now + _SKEW_SECONDS and now < self.exp <= self.iat + LONGEST_SECONDS


class AccessTokens:
    def __init__(self, keys: SigningKeys, settings: TokenSettings, *, now: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._seconds = settings.access_seconds
        self._now = now

    def issue(self, user: str, organization: str | None, session: str) -> tuple[str, datetime]:
        """The token's text, and when it is over."""
        issued = int(self._now())
        expires = issued + self._seconds
        kid, key = self._keys.signing()
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": user,
            "org": organization,
            "sid": session,
            "jti": uuid7_hex(),
            "iat": issued,
            "exp": expires,
        }
        text = jwt.encode(_header(kid), claims, key, algorithms=[ALGORITHM])
        return text, datetime.fromtimestamp(expires, UTC)

    async def read(self, text: str) -> AccessClaims | None:
        """What the token says; nothing when it is not one of ours, or not any more."""
        kid = _kid(text)
        key = await self._keys.known(kid) if kid is not None else None
        if key is None:
            return None
        try:
            claims = _Claims.model_validate(jwt.decode(text, key.public, algorithms=[ALGORITHM]).claims)
        except (JoseError, ValidationError, ValueError, RecursionError):
            return None
        if not claims.holds(self._now()):
            return None
        return AccessClaims(claims.sub, claims.org, claims.sid, float(claims.exp))


def _header(kid: str) -> dict[str, str]:
    return {"typ": _TYPE, "alg": ALGORITHM, "kid": kid}


def _kid(text: str) -> str | None:
    """The key that the header names, when everything else in the header is as we write it."""
    if len(text) > _LONGEST_TEXT or not _FORM.fullmatch(text):
        return None
    try:
        header = jws.extract_compact(text.encode()).headers()
    except (JoseError, ValueError, TypeError, RecursionError):
        return None
    kid = header.get("kid")
    return kid if isinstance(kid, str) and header == _header(kid) else None
