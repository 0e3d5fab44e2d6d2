"""From a request to the key it shows, for the proxy and for the gateway's own routes alike."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Annotated, TypeAlias, cast

from crewmesh_kit.identity import Access, Identity
from crewmesh_kit.resources import Resources
from fastapi import Depends, Request

from crewmesh_gateway.api_keys.errors import ApiKeyInvalid, ApiKeyMissing
from crewmesh_gateway.api_keys.models import ApiKey
from crewmesh_gateway.api_keys.service import ApiKeys


class ApiKeyAuthenticator:
    """Reads ``Authorization: Bearer cm_…`` or ``X-API-Key: cm_…``."""

    def __init__(self, keys: ApiKeys, *, app_api_token: str) -> None:
        self._keys = keys
        self._app_api_token = app_api_token.encode()

    async def authenticate(self, request: Request) -> Identity:
        peer = request.client.host if request.client else "unknown"
        return (await self.key(request.headers, peer=peer)).identity

    async def key(self, headers: Mapping[str, str], *, peer: str) -> ApiKey:
        return await self._keys.verify(_key_text(headers), address=self.address(headers, peer))

    def address(self, headers: Mapping[str, str], peer: str) -> str:
        """Who is throttled. Only our own sidecar, which knows the app's token, may speak for somebody behind it."""
        told = headers.get("x-real-ip")
        if told is None or not self._app_api_token:
            return peer
        from_sidecar = hmac.compare_digest(headers.get("dapr-api-token", "").encode(), self._app_api_token)
        return told if from_sidecar and _is_address(told) else peer


def _key_text(headers: Mapping[str, str]) -> str:
    authorization = headers.get("authorization")
    if authorization is None:
        text = headers.get("x-api-key", "").strip()
        if not text:
            raise ApiKeyMissing
        return text
    scheme, _, text = authorization.partition(" ")
    if scheme.lower() != "bearer":
        raise ApiKeyInvalid
    if not text.strip():
        raise ApiKeyMissing
    return text.strip()


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


class WithKey(Access):
    """Any valid key will do: what is shown belongs to the key itself."""

    async def __call__(self, request: Request) -> ApiKey:
        resources = cast(Resources, request.app.state.resources)
        peer = request.client.host if request.client else "unknown"
        return await resources.get(ApiKeyAuthenticator).key(request.headers, peer=peer)


AnyKey: TypeAlias = Annotated[ApiKey, Depends(WithKey())]
