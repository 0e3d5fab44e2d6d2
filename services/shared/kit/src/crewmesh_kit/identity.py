"""Who is asking: a short-lived signed token travels with every request between services.

The gateway (or the engine, for a run) signs an identity for one audience; the service that is asked verifies it and
looks at the permissions. Signing and verifying cost tens of microseconds each, so both sides keep what they did: a
signer hands the same token out until half of its life is over, a verifier remembers a token until it expires.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast, runtime_checkable

from crewmesh_contracts.base import JsonObject
from fastapi import Request
from fastapi.params import Depends
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, OKPKey

from crewmesh_kit.errors import PermissionDenied, Unauthenticated
from crewmesh_kit.logs import bind
from crewmesh_kit.origin import note_origin
from crewmesh_kit.resources import Resources

ALL_PERMISSIONS = "*"
TOKEN_SECONDS = 60
CLOCK_SKEW_SECONDS = 5
# EdDSA over Curve25519; RFC 9864 gave it this name of its own.
_ALGORITHM = "Ed25519"
_MOST_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Identity:
    """On whose behalf something happens, and what that one may do.

    ``groups`` are what the subject belongs to, as they are asked for elsewhere: ``role:owner``, ``team:<id>``.
    ``group_names`` are the same groups as people call them: ``team:Operations``. Questions to people may go by names;
    access never does, for a name can mean something else tomorrow.
    ``acting_for`` is the person behind a subject that is none, such as the maker of a key.
    """

    organization: str
    subject: str
    permissions: frozenset[str]
    groups: frozenset[str] = frozenset()
    acting_for: str | None = None
    group_names: frozenset[str] = frozenset()

    @property
    def behind(self) -> str:
        """The person, also where they use a key; or the subject itself."""
        return self.acting_for or self.subject

    def allows(self, permission: str) -> bool:
        return permission in self.permissions or ALL_PERMISSIONS in self.permissions


class TokenSigner:
    """Signs as the app whose private key it holds."""

    def __init__(self, private_jwk: str, *, app_id: str, now: Callable[[], float] = time.time) -> None:
        self._key = OKPKey.import_key(json.loads(private_jwk))
        self._app_id = app_id
        self._now = now
        self._signed: dict[tuple[Identity, str], tuple[float, str]] = {}

    def sign(self, identity: Identity, *, audience: str) -> str:
        now = self._now()
        remembered = self._signed.get((identity, audience))
        if remembered is not None and remembered[0] > now:
            return remembered[1]
        token = self._token(identity, audience, int(now))
        _make_room(self._signed, lambda kept: kept[0] <= now)
        self._signed[identity, audience] = (now + TOKEN_SECONDS / 2, token)
        return token

    def _token(self, identity: Identity, audience: str, now: int) -> str:
        claims: dict[str, Any] = {
            "iss": self._app_id,
            "aud": audience,
            "sub": identity.subject,
            "org": identity.organization,
            "permissions": sorted(identity.permissions),
            "groups": sorted(identity.groups),
            "group_names": sorted(identity.group_names),
            "for": identity.acting_for,
            "iat": now,
            "exp": now + TOKEN_SECONDS,
        }
        return jwt.encode({"alg": _ALGORITHM, "kid": self._app_id}, claims, self._key, algorithms=[_ALGORITHM])


class TokenVerifier:
    """Accepts tokens that name this app as their audience and carry the signature of the app that says it signed."""

    def __init__(self, public_jwks: str, *, audience: str, now: Callable[[], float] = time.time) -> None:
        self._keys = KeySet.import_key_set(json.loads(public_jwks))
        self._audience = audience
        self._now = now
        self._verified: dict[str, tuple[float, Identity]] = {}

    def verify(self, token: str) -> Identity:
        now = self._now()
        remembered = self._verified.get(token)
        if remembered is not None and remembered[0] > now:
            return remembered[1]
        expires, identity = self._check(token, now)
        _make_room(self._verified, lambda kept: kept[0] <= now)
        self._verified[token] = (expires, identity)
        return identity

    def _check(self, token: str, now: float) -> tuple[float, Identity]:
        try:
            decoded = jwt.decode(token, self._keys, algorithms=[_ALGORITHM])
            claims = cast(JsonObject, decoded.claims)
            issuer_signed = decoded.header.get("kid") == claims["iss"]
            meant_for_us = claims["aud"] == self._audience
            expires = float(cast(float, claims["exp"])) + CLOCK_SKEW_SECONDS
            identity = Identity(
                organization=str(claims["org"]),
                subject=str(claims["sub"]),
                permissions=frozenset(cast("list[str]", claims["permissions"])),
                # A service that was not updated yet signs without them.
                groups=frozenset(cast("list[str]", claims.get("groups", []))),
                acting_for=cast("str | None", claims.get("for")),
                group_names=frozenset(cast("list[str]", claims.get("group_names", []))),
            )
        except (JoseError, ValueError, KeyError, TypeError) as error:
            raise Unauthenticated("The identity token is not one that Crewmesh signed; send a fresh one.") from error
        if not issuer_signed or not meant_for_us:
            raise Unauthenticated(f"The identity token was not made for {self._audience}; ask for one that was.")
        if expires <= now:
            raise Unauthenticated("The identity token has expired; send a fresh one.")
        return expires, identity


def _make_room(kept: dict[Any, tuple[float, Any]], stale: Callable[[tuple[float, Any]], bool]) -> None:
    """Bound the memory: drop what is over, and if that is not enough, everything."""
    if len(kept) < _MOST_REMEMBERED:
        return
    for key in [key for key, entry in kept.items() if stale(entry)]:
        del kept[key]
    if len(kept) >= _MOST_REMEMBERED:
        kept.clear()


@runtime_checkable
class Authenticator(Protocol):
    """How a request proves who is asking. Services read the internal token; the gateway adds its API keys."""

    async def authenticate(self, request: Request) -> Identity: ...


class TokenAuthenticator:
    """Reads ``Authorization: Bearer <token>``."""

    def __init__(self, verifier: TokenVerifier) -> None:
        self._verifier = verifier

    async def authenticate(self, request: Request) -> Identity:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("Send the header Authorization: Bearer <token>.")
        return self._verifier.verify(token.strip())


class Access(ABC):
    """Marks a route as one whose access was thought about; the app factory refuses to start with others."""

    @abstractmethod
    async def __call__(self, request: Request) -> object:
        """Who is asking, where that is asked for. Raises Problem: they may not."""


class Requires(Access):
    def __init__(self, permission: str) -> None:
        self.permission = permission

    async def __call__(self, request: Request) -> Identity:
        identity = await self.who(request)
        self.check(identity)
        return identity

    async def who(self, request: Request) -> Identity:
        resources = cast(Resources, request.app.state.resources)
        identity = await resources.get(Authenticator).authenticate(request)
        bind(organization=identity.organization)
        note_origin(request.headers)
        return identity

    def check(self, identity: Identity) -> None:
        if not identity.allows(self.permission):
            raise PermissionDenied(
                f"This needs the permission {self.permission}; ask an owner of the organization to grant it.",
                permission=self.permission,
            )


class Public(Access):
    async def __call__(self, request: Request) -> None:
        return None


def requires(permission: str) -> Depends:
    """``identity: Annotated[Identity, requires("runs:read")]``: 401 without a valid token, 403 without permission."""
    return Depends(Requires(permission))


def public() -> Depends:
    """``dependencies=[public()]``: this route is open on purpose."""
    return Depends(Public())
