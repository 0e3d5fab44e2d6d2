"""What a route of the gateway asks of whoever calls it, written in the handler's signature.

::

    async def invite(principal: Annotated[Principal, needs("members:write")], …)   a permission
    async def show(principal: SignedIn, …)                                          any valid key or login
    async def change(principal: Person, …)                                          somebody who is logged in
"""

from __future__ import annotations

from typing import Annotated, TypeAlias, cast

from crewmesh_kit.errors import PermissionDenied
from crewmesh_kit.identity import Access, Requires
from crewmesh_kit.logs import bind
from crewmesh_kit.resources import Resources
from fastapi import Depends, Request, params

from crewmesh_gateway.principals.doorkeeper import Doorkeeper
from crewmesh_gateway.principals.models import Principal


class NotAPerson(PermissionDenied):
    """This belongs to a person's own account. Log in and use the access token; a key cannot do it."""

    slug, title = "not-a-person", "Not a person"

    def __init__(self) -> None:
        super().__init__("This is done by somebody who is logged in, not with an API key: POST /v1/auth/login.")


class AnySignedIn(Access):
    """Any valid credential will do: what is shown belongs to itself."""

    async def __call__(self, request: Request) -> Principal:
        resources = cast(Resources, request.app.state.resources)
        principal = await resources.get(Doorkeeper).admitted(request)
        bind(organization=principal.organization)
        return principal


class AnyPerson(AnySignedIn):
    async def __call__(self, request: Request) -> Principal:
        principal = await super().__call__(request)
        if not principal.is_person:
            raise NotAPerson
        return principal


class Needs(Requires):
    """A permission; the handler gets the whole principal."""

    async def __call__(self, request: Request) -> Principal:  # pyright: ignore[reportIncompatibleMethodOverride]
        principal = await AnySignedIn()(request)
        self.check(principal.identity)
        return principal


def needs(permission: str) -> params.Depends:
    return params.Depends(Needs(permission))


SignedIn: TypeAlias = Annotated[Principal, Depends(AnySignedIn())]
Person: TypeAlias = Annotated[Principal, Depends(AnyPerson())]
