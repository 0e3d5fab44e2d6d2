"""Models and aliases over HTTP. Names may hold slashes, as providers' names do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

from crewmesh_kit.app import provided
from crewmesh_kit.http.etags import IfMatch, etag_of
from crewmesh_kit.http.pagination import Page, PageQuery, PageRequest
from crewmesh_kit.identity import Identity, requires
from fastapi import APIRouter, Path, Query, Response

from crewmesh_agent_crew.catalogue.changes import CatalogueChanges
from crewmesh_agent_crew.catalogue.definitions import ModelDefinition
from crewmesh_agent_crew.catalogue.models import Capability, ModelName
from crewmesh_agent_crew.catalogue.schemas import Alias, AliasDefinition, Model, PriceChange, Source

ItemT = TypeVar("ItemT")

router = APIRouter(prefix="/v1/models", tags=["models"])

Reader = Annotated[Identity, requires("models:read")]
Writer = Annotated[Identity, requires("models:write")]
Changes = Annotated[CatalogueChanges, provided(CatalogueChanges)]
Name = Annotated[ModelName, Path(description="Name of the model.", examples=["claude-sonnet-5-5"])]
AliasName = Annotated[ModelName, Path(description="Name of the alias.", examples=["fast"])]


@router.get("", summary="List models")
async def list_models(
    identity: Reader,
    changes: Changes,
    page: PageQuery,
    provider: Annotated[str | None, Query(max_length=64, description="Asked by this account.")] = None,
    capability: Annotated[Capability | None, Query(description="Able to do this.")] = None,
    usable: Annotated[bool | None, Query(description="With an account to ask them by, or without.")] = None,
    source: Annotated[Source | None, Query(description="Where they come from.")] = None,
) -> Page[Model]:
    """List the models that the organization can know of, by name: its own, the deployment's and the built-in ones."""
    models = [
        model
        for model in await changes.all_models(identity)
        if (provider is None or model.provider == provider)
        and (capability is None or capability in model.capabilities)
        and (usable is None or model.usable == usable)
        and (source is None or model.source == source)
    ]
    return _page(page, models, lambda model: model.name)


@router.get("/aliases", summary="List aliases of models")
async def list_aliases(identity: Reader, changes: Changes, page: PageQuery) -> Page[Alias]:
    """List the names that stand for models, and for which: ``default``, ``fast``, ``smart`` and others."""
    return _page(page, await changes.all_aliases(identity), lambda alias: alias.name)


@router.get("/aliases/{alias:path}", summary="Get an alias of models")
async def get_alias(alias: AliasName, identity: Reader, changes: Changes, response: Response) -> Alias:
    """Get an alias, and which models it stands for."""
    found = await changes.alias(identity, alias)
    response.headers["ETag"] = etag_of(found.version)
    return found


@router.put("/aliases/{alias:path}", summary="Set an alias of models", responses={201: {"model": Alias}})
async def put_alias(
    alias: AliasName,
    definition: AliasDefinition,
    identity: Writer,
    changes: Changes,
    response: Response,
    if_match: IfMatch = None,
) -> Alias:
    """Say which models a name stands for, in the order they are asked. From the next call on it means these."""
    kept, is_new = await changes.put_alias(identity, alias, definition, if_match)
    _told_as_kept(response, f"/v1/models/aliases/{alias}", kept.version, is_new=is_new)
    return kept


@router.delete("/aliases/{alias:path}", status_code=204, summary="Delete an alias of models")
async def delete_alias(alias: AliasName, identity: Writer, changes: Changes, if_match: IfMatch = None) -> None:
    """Delete the organization's alias. A name that means something without it means that again."""
    await changes.delete_alias(identity, alias, if_match)


@router.get("/{name:path}/prices", summary="List what a model has cost")
async def list_prices(name: Name, identity: Reader, changes: Changes) -> Page[PriceChange]:
    """List the prices that the organization gave the model, the latest first: what the costs of calls refer to."""
    return Page(items=tuple(await changes.prices(identity, name)))


@router.get("/{name:path}", summary="Get a model")
async def get_model(name: Name, identity: Reader, changes: Changes, response: Response) -> Model:
    """Get a model with its prices, its limits and what it can."""
    found = await changes.model(identity, name)
    response.headers["ETag"] = etag_of(found.version)
    return found


@router.put("/{name:path}", summary="Add or change a model", responses={201: {"model": Model}})
async def put_model(
    name: Name,
    definition: ModelDefinition,
    identity: Writer,
    changes: Changes,
    response: Response,
    if_match: IfMatch = None,
) -> Model:
    """Add a model, or say what is different about one that is known: its prices, its account, its limits."""
    kept, is_new = await changes.put_model(identity, name, definition, if_match)
    _told_as_kept(response, f"/v1/models/{name}", kept.version, is_new=is_new)
    return kept


@router.delete("/{name:path}", status_code=204, summary="Delete a model")
async def delete_model(name: Name, identity: Writer, changes: Changes, if_match: IfMatch = None) -> None:
    """Delete what the organization said of the model. One that is known without it is as it was."""
    await changes.delete_model(identity, name, if_match)


def _told_as_kept(response: Response, location: str, version: int, *, is_new: bool) -> None:
    response.headers["ETag"] = etag_of(version)
    if is_new:
        response.status_code = 201
        response.headers["Location"] = location


def _page(page: PageRequest, items: Sequence[ItemT], name: Callable[[ItemT], str]) -> Page[ItemT]:
    """Out of a list that is there as a whole: models are some hundred, and come from three places."""
    after = page.after_text()
    rest = [item for item in items if after is None or name(item) > after]
    return page.page(rest, lambda item: (name(item),))
