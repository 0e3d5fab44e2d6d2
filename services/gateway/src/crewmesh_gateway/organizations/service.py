"""Founding, showing and changing organizations."""

from __future__ import annotations

from dataclasses import replace

from crewmesh_kit import audit
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.http.etags import require_match
from crewmesh_kit.http.pagination import Page, PageRequest

from crewmesh_gateway.organizations import repository
from crewmesh_gateway.organizations.errors import OrganizationGone, TooManyOrganizations
from crewmesh_gateway.organizations.founding import found
from crewmesh_gateway.organizations.guards import active
from crewmesh_gateway.organizations.schemas import MyOrganization, NewOrganization, Organization, OrganizationChange
from crewmesh_gateway.principals.models import NOWHERE, Principal
from crewmesh_gateway.settings import OrganizationSettings


class Organizations:
    def __init__(self, database: Database, idempotency: Idempotency, settings: OrganizationSettings) -> None:
        self._database = database
        self._idempotency = idempotency
        self._settings = settings

    async def create(self, principal: Principal, new: NewOrganization, *, key: str | None) -> Organization:
        owner = principal.identity.subject
        async with self._database.system() as conn:

            async def work() -> Organization:
                if await repository.number_owned(conn, owner) >= self._settings.most_owned:
                    raise TooManyOrganizations(self._settings.most_owned)
                created = await repository.get(conn, await found(conn, name=new.name, owner=owner))
                if created is None:
                    raise OrganizationGone
                return created

            # The key is the person's wherever they work: after a lost answer the login may go on in the new one.
            anywhere = replace(principal.identity, organization=NOWHERE)
            return await self._idempotency.once_in(
                conn, identity=anywhere, scope=f"organizations of {owner}", key=key, request=new, work=work
            )

    async def mine(self, principal: Principal, request: PageRequest) -> Page[MyOrganization]:
        after = request.after_text()
        async with self._database.system() as conn:
            organizations = await repository.of_a_person(conn, principal.identity.subject, after, request.limit + 1)
        return request.page(organizations, lambda each: (each.id,))

    async def current(self, principal: Principal) -> Organization:
        async with self._database.tenant(principal.organization) as conn:
            organization = await repository.get(conn, principal.organization)
        if organization is None:
            raise OrganizationGone
        return organization

    async def change(self, principal: Principal, change: OrganizationChange, if_match: str | None) -> Organization:
        async with self._database.tenant(principal.organization) as conn:
            before = await active(conn, principal.organization)
            require_match(if_match, before.version)
            wanted = before.model_copy(update=change.model_dump(include=change.model_fields_set))
            if wanted == before:
                return before
            after = await repository.change(conn, before.id, wanted.name, wanted.residency)
            if after is None:
                raise OrganizationGone
            shown = {"name", "residency"}
            await audit.record(
                conn,
                principal.identity,
                "organization.updated",
                before.id,
                before=before.model_dump(include=shown),
                after=after.model_dump(include=shown),
            )
            return after
