"""``GET /v1/auth/jwks`` and, where others look for it by convention, ``/.well-known/jwks.json``."""

from __future__ import annotations

from typing import Annotated

from crewmesh_kit.app import provided
from crewmesh_kit.identity import public
from fastapi import APIRouter, Response

from crewmesh_gateway.signing_keys.schemas import Jwk, Jwks
from crewmesh_gateway.signing_keys.service import SigningKeys

WELL_KNOWN = "/.well-known/jwks.json"
# Much shorter than a key is published before it signs.
_CACHED = "public, max-age=300"

router = APIRouter(tags=["auth"], dependencies=[public()])


@router.get(WELL_KNOWN, include_in_schema=False)
@router.get("/v1/auth/jwks", summary="The public keys that prove access tokens, as a JSON Web Key Set")
async def jwks(keys: Annotated[SigningKeys, provided(SigningKeys)], response: Response) -> Jwks:
    response.headers["Cache-Control"] = _CACHED
    return Jwks(keys=tuple(Jwk.model_validate(key.published()) for key in keys.ring.keys))
