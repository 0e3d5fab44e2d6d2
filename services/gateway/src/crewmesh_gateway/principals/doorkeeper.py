"""From a request to whoever sent it, for the proxy and for the gateway's own routes alike."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from ipaddress import ip_address

from crewmesh_kit.identity import Identity
from crewmesh_kit.origin import note_origin
from fastapi import Request

from crewmesh_gateway.api_keys.errors import CredentialInvalid, CredentialMissing
from crewmesh_gateway.principals.models import Principal
from crewmesh_gateway.principals.service import Principals


class Doorkeeper:
    """Reads ``Authorization: Bearer <API key or access token>`` or ``X-API-Key: cm_…``."""

    def __init__(self, principals: Principals, *, app_api_token: str) -> None:
        self._principals = principals
        self._app_api_token = app_api_token.encode()

    async def authenticate(self, request: Request) -> Identity:
        return (await self.admitted(request)).identity

    async def admitted(self, request: Request) -> Principal:
        """Whoever sent the request; where it came from is remembered for what is written about it."""
        peer = request.client.host if request.client else "unknown"
        note_origin(request.headers, address=self.address(request.headers, peer))
        return await self.admit(request.headers, peer=peer)

    async def admit(self, headers: Mapping[str, str], *, peer: str) -> Principal:
        return await self._principals.whose(_credential(headers), address=self.address(headers, peer))

    def address(self, headers: Mapping[str, str], peer: str) -> str:
        """Where a request came from. Only our own sidecar, which knows the app's token, may speak for somebody."""
        told = headers.get("x-real-ip")
        if told is None or not self._app_api_token:
            return peer
        from_sidecar = hmac.compare_digest(headers.get("dapr-api-token", "").encode(), self._app_api_token)
        return told if from_sidecar and _is_address(told) else peer


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
