"""From a request to whoever sent it, for the proxy and for the gateway's own routes alike."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from ipaddress import ip_address

from crewmesh_kit.errors import Unauthenticated
from crewmesh_kit.identity import Identity
from crewmesh_kit.origin import note_origin
from fastapi import Request
from starlette.types import Scope

from crewmesh_gateway.api_keys.errors import CredentialInvalid, CredentialMissing
from crewmesh_gateway.audit.attempts import note_principal
from crewmesh_gateway.limits.allowlist import admits
from crewmesh_gateway.limits.errors import AddressNotAdmitted
from crewmesh_gateway.limits.gate import Gate
from crewmesh_gateway.principals.errors import NoOrganization
from crewmesh_gateway.principals.models import Principal
from crewmesh_gateway.principals.service import Principals

# The edge sends it with what does not pass the sidecars (streams).
EDGE_TOKEN_HEADER = "crewmesh-edge-token"


class Doorkeeper:
    """Reads ``Authorization: Bearer <API key or access token>`` or ``X-API-Key: cm_live_…``."""

    def __init__(self, principals: Principals, gate: Gate, *, app_api_token: str, edge_token: str = "") -> None:
        self._principals = principals
        self._gate = gate
        # By header: who may say where somebody else's request came from.
        tokens = {"dapr-api-token": app_api_token, EDGE_TOKEN_HEADER: edge_token}
        self._trusted = {header: token.encode() for header, token in tokens.items() if token}

    async def authenticate(self, request: Request) -> Identity:
        principal = await self.admitted(request)
        if not principal.has_organization:
            raise NoOrganization
        return principal.identity

    async def admitted(self, request: Request) -> Principal:
        """Whoever sent the request; where it came from is remembered for what is written about it."""
        note_origin(request.headers, address=self.address_of(request))
        return await self.admit(request.scope, request.headers, peer=_peer(request))

    async def admit(self, scope: Scope, headers: Mapping[str, str], *, peer: str) -> Principal:
        """Somebody known, from where the organization admits, and not too often; who is not, counts by the address."""
        address = self.address(headers, peer)
        try:
            principal = await self._principals.whose(_credential(headers), address=address)
            note_principal(principal)
            if principal.allowlist and not admits(principal.allowlist, address):
                raise AddressNotAdmitted(address)
        except (Unauthenticated, AddressNotAdmitted):
            self._gate.stranger(scope, address)
            raise
        self._gate.enter(scope, principal)
        return principal

    def address_of(self, request: Request) -> str:
        return self.address(request.headers, _peer(request))

    def address(self, headers: Mapping[str, str], peer: str) -> str:
        """Where a request came from. Only our own sidecar and the edge know the tokens to speak for somebody."""
        told = headers.get("x-real-ip")
        if told is None:
            return peer
        trusted = any(
            hmac.compare_digest(headers.get(header, "").encode(), token) for header, token in self._trusted.items()
        )
        return told if trusted and _is_address(told) else peer


def _peer(request: Request) -> str:
    return request.client.host if request.client else "unknown"


def _credential(headers: Mapping[str, str]) -> str:
    authorization = headers.get("authorization")
    if authorization is None:
        text = headers.get("x-api-key", "").strip()
        if not text:
            raise CredentialMissing
        return text
    scheme, _, text = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise CredentialInvalid
    if not text.strip():
        raise CredentialMissing
    return text.strip()


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
