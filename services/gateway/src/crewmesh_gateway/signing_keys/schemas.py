"""The published keys as RFC 7517 has them."""

from __future__ import annotations

from typing import Literal

from crewmesh_contracts.base import Reply


class Jwk(Reply):
    kty: Literal["EC"]
    crv: Literal["P-256"]
    x: str
    y: str
    kid: str
    alg: Literal["ES256"]
    use: Literal["sig"]


class Jwks(Reply):
    keys: tuple[Jwk, ...]
