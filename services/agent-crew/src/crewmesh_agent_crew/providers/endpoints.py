"""Accounts at providers over HTTP."""

from __future__ import annotations

from typing import Annotated

from crewmesh_contracts.ids import Slug
from crewmesh_kit.app import provided
from crewmesh_kit.db.idempotency import IdempotencyKey
from crewmesh_kit.http.etags import IfMatch, etag_of
from crewmesh_kit.http.pagination import Page, PageQuery
from crewmesh_kit.identity import Identity, requires
from fastapi import APIRouter, Path, Response

from crewmesh_agent_crew.providers.schemas import NewProvider, Provider, ProviderSettings, ProviderTest
from crewmesh_agent_crew.providers.service import Providers
from crewmesh_agent_crew.providers.trials import Trials

router = APIRouter(prefix="/v1/providers", tags=["providers"])

Reader = Annotated[Identity, requires("models:read")]
Writer = Annotated[Identity, requires("models:write")]
Held = Annotated[Providers, provided(Providers)]
Name = Annotated[Slug, Path(description="Name of the account.", examples=["anthropic"])]


@router.get("", summary="List accounts at providers")
async def list_providers(identity: Reader, providers: Held, page: PageQuery) -> Page[Provider]:
    """List the accounts at providers of models, by name: the organization's own, and ``default`` of the deployment."""
    return await providers.page(identity, page)


@router.post("", status_code=201, summary="Add an account at a provider")
async def create_provider(
    wanted: NewProvider, identity: Writer, providers: Held, response: Response, key: IdempotencyKey
) -> Provider:
    """Add an account at a provider of models. Its key is sealed, and shown to nobody again."""
    provider = await providers.create(identity, key, wanted)
    response.headers["ETag"] = etag_of(provider.version)
    response.headers["Location"] = f"/v1/providers/{provider.name}"
    return provider


@router.get("/{name}", summary="Get an account at a provider")
async def get_provider(name: Name, identity: Reader, providers: Held, response: Response) -> Provider:
    """Get an account: where it leads, its limits, and of its key the last characters."""
    provider = await providers.get(identity, name)
    response.headers["ETag"] = etag_of(provider.version)
    return provider


@router.put("/{name}", summary="Change an account at a provider")
async def put_provider(
    name: Name,
    wanted: ProviderSettings,
    identity: Writer,
    providers: Held,
    response: Response,
    if_match: IfMatch = None,
) -> Provider:
    """Change an account. The key may be left out, unless the account leads elsewhere from now on."""
    provider = await providers.change(identity, name, wanted, if_match)
    response.headers["ETag"] = etag_of(provider.version)
    return provider


@router.delete("/{name}", status_code=204, summary="Delete an account at a provider")
async def delete_provider(name: Name, identity: Writer, providers: Held, if_match: IfMatch = None) -> None:
    """Delete an account and its key. Models that are asked by it can no longer be asked."""
    await providers.delete(identity, name, if_match)


@router.post("/{name}/test", summary="Test an account at a provider")
async def test_provider(name: Name, identity: Writer, trials: Annotated[Trials, provided(Trials)]) -> ProviderTest:
    """Ask the provider which models the account may ask. Costs nothing; what is wrong is told with what helps."""
    return await trials.test(identity, name)
