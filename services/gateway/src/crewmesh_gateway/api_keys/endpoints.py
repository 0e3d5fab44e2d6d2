"""HTTP of API keys."""

from __future__ import annotations

from typing import Annotated

from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import IdempotencyKey
from crewmesh_kit.http.etags import IfMatch, etag_of
from crewmesh_kit.http.pagination import Page, PageQuery
from fastapi import APIRouter, Query, Response

from crewmesh_gateway.api_keys.schemas import ApiKey, ApiKeyChange, NewApiKey, Rotation, ShownApiKey
from crewmesh_gateway.api_keys.service import ApiKeys
from crewmesh_gateway.ids import IdText
from crewmesh_gateway.principals.access import needs
from crewmesh_gateway.principals.models import Principal

router = APIRouter(prefix="/v1/api-keys", tags=["API keys"])

Reader = Annotated[Principal, needs("api-keys:read")]
Writer = Annotated[Principal, needs("api-keys:write")]
TheKeys = Annotated[ApiKeys, provided(ApiKeys)]


@router.get("")
async def list_api_keys(
    principal: Reader,
    keys: TheKeys,
    page: PageQuery,
    service_account: Annotated[IdText | None, Query(description="Only the keys of this service account.")] = None,
) -> Page[ApiKey]:
    """List the organization's API keys, also those that have ended. Secrets are never shown."""
    return await keys.page(principal, page, service_account)


@router.post("", status_code=201)
async def create_api_key(
    new: NewApiKey, principal: Writer, keys: TheKeys, response: Response, idempotency_key: IdempotencyKey = None
) -> ShownApiKey:
    """Create an API key. Its text is in this answer and never again.

    A repeated request with the same Idempotency-Key makes no second key: it is answered 409 with the id of the first.
    """
    return _told_where(response, await keys.create(principal, new, idempotency_key=idempotency_key))


@router.get("/{key_id}")
async def get_api_key(key_id: IdText, principal: Reader, keys: TheKeys, response: Response) -> ApiKey:
    """Get an API key, without its secret."""
    found = await keys.get(principal, key_id)
    response.headers["ETag"] = etag_of(found.version)
    return found


@router.patch("/{key_id}")
async def change_api_key(
    key_id: IdText,
    change: ApiKeyChange,
    principal: Writer,
    keys: TheKeys,
    response: Response,
    if_match: IfMatch = None,
) -> ApiKey:
    """Rename an API key. What it may do never changes; make another key for that."""
    changed = await keys.change(principal, key_id, change, if_match)
    response.headers["ETag"] = etag_of(changed.version)
    return changed


@router.post("/{key_id}/rotate", status_code=201)
async def rotate_api_key(
    key_id: IdText,
    rotation: Rotation,
    principal: Writer,
    keys: TheKeys,
    response: Response,
    idempotency_key: IdempotencyKey = None,
) -> ShownApiKey:
    """Create the key's successor, with the same scopes. The old one stays good for overlap_seconds, then ends."""
    return _told_where(response, await keys.rotate(principal, key_id, rotation, idempotency_key=idempotency_key))


@router.delete("/{key_id}", status_code=204)
async def revoke_api_key(
    key_id: IdText, principal: Annotated[Principal, needs("api-keys:write", while_deleting=True)], keys: TheKeys
) -> None:
    """Revoke an API key, at once and for good. It stays in the list."""
    await keys.revoke(principal, key_id)


def _told_where(response: Response, made: ShownApiKey) -> ShownApiKey:
    response.headers["Location"] = f"/v1/api-keys/{made.id}"
    response.headers["ETag"] = etag_of(made.version)
    # Nothing on the way may keep what is shown once.
    response.headers["Cache-Control"] = "no-store"
    return made
