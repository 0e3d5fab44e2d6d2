"""The signing keys as they are in memory: which one signs now, and which ones are still believed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import cast

from crewmesh_contracts.base import JsonObject
from joserfc.jwk import ECKey

ALGORITHM = "ES256"
CURVE = "P-256"


@dataclass(frozen=True, slots=True)
class SigningKey:
    kid: str
    public: ECKey
    # None: sealed with another master key, so it is still believed and never used.
    private: ECKey | None
    created_at: float
    signs_from: float

    def published(self) -> JsonObject:
        return {**cast(JsonObject, self.public.as_dict(private=False)), "kid": self.kid, "alg": ALGORITHM, "use": "sig"}


@dataclass(frozen=True)
class KeyRing:
    """In the order in which they sign."""

    keys: tuple[SigningKey, ...] = ()

    @cached_property
    def by_kid(self) -> dict[str, SigningKey]:
        return {key.kid: key for key in self.keys}

    @property
    def newest(self) -> SigningKey | None:
        return next((key for key in reversed(self.keys) if key.private is not None), None)

    def signing(self, now: float) -> SigningKey | None:
        """The latest whose time has come."""
        usable = [key for key in self.keys if key.private is not None and key.signs_from <= now]
        return usable[-1] if usable else None

    def retired(self, before: float) -> tuple[SigningKey, ...]:
        """Those whose successor already signed then."""
        return tuple(
            key for key, successor in zip(self.keys, self.keys[1:], strict=False) if successor.signs_from <= before
        )
