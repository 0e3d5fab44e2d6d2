"""What a route of the gateway asks of whoever calls it, written in the handler's signature.

::

    async def invite(principal: Annotated[Principal, needs("members:write")], …)   a permission
    async def show(principal: SignedIn, …)                                          any valid key or login
    async def change(principal: Person, …)                                          somebody who is logged in

Only what asks for a permission is done in an organization; the other two are also for people who belong to none.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias, cast

from crewmesh_kit.identity import Access, Requires
from crewmesh_kit.logs import bind
from crewmesh_kit.resources import Resources
from fastapi import Depends, Request, params

from crewmesh_gateway.organizations.errors import OrganizationDeleting
from crewmesh_gateway.principals.doorkeeper import Doorkeeper
from crewmesh_gateway.principals.errors import NoOrganization, NotAPerson
from crewmesh_gateway.principals.models import Principal

_READING = frozenset({"GET", "HEAD", "OPTIONS"})


def check_organization_stands(principal: Principal, method: str) -> None:
    """There is one to work in. One that is deleted is read, and nothing else."""
    if not principal.has_organization:
        raise NoOrganization
    if principal.deleting and method not in _READING:
        raise OrganizationDeleting(principal.delete_after)


class AnySignedIn(Access):
    """Any valid credential will do: what is shown belongs to itself."""

    def __init__(self, *, while_deleting: bool = False) -> None:
        self._while_deleting = while_deleting

    async def __call__(self, request: Request) -> Principal:
        resources = cast(Resources, request.app.state.resources)
        principal = await resources.get(Doorkeeper).admitted(request)
        bind(organization=principal.identity.organization or None)
        if principal.has_organization and not self._while_deleting:
            check_organization_stands(principal, request.method)
        return principal


class AnyPerson(AnySignedIn):
    """Somebody who is logged in. What is theirs does not stand still because the organization they are in does."""

    def __init__(self) -> None:
        super().__init__(while_deleting=True)

    async def __call__(self, request: Request) -> Principal:
        principal = await super().__call__(request)
        if not principal.is_person:
            raise NotAPerson
        return principal


class Needs(Requires):
    """A permission; the handler gets the whole principal."""

    def __init__(self, permission: str, *, while_deleting: bool) -> None:
        super().__init__(permission)
        self._signed_in = AnySignedIn(while_deleting=while_deleting)

    async def __call__(self, request: Request) -> Principal:  # pyright: ignore[reportIncompatibleMethodOverride]
        principal = await self._signed_in(request)
        if not principal.has_organization:
            raise NoOrganization
        self.check(principal.identity)
        return principal


def needs(permission: str, *, while_deleting: bool = False) -> params.Depends:
    """``while_deleting``: also for changes in an organization that is deleted, such as to restore it."""
    return params.Depends(Needs(permission, while_deleting=while_deleting))


SignedIn: TypeAlias = Annotated[Principal, Depends(AnySignedIn())]
Person: TypeAlias = Annotated[Principal, Depends(AnyPerson())]
