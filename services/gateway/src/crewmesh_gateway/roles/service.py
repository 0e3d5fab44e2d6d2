"""Custom roles, within the one rule: nobody makes, changes or deletes a role that holds more than they do."""

from __future__ import annotations

from crewmesh_contracts import permissions
from crewmesh_kit import audit
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.http.etags import require_match
from crewmesh_kit.http.pagination import Page, PageRequest
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_gateway.invitations import repository as invitations
from crewmesh_gateway.limits.quotas import Quotas
from crewmesh_gateway.organizations.guards import active
from crewmesh_gateway.principals.models import Principal
from crewmesh_gateway.principals.service import Principals
from crewmesh_gateway.roles import repository
from crewmesh_gateway.roles.errors import BuiltInRole, RoleExists, RoleInUse, UnknownRole
from crewmesh_gateway.roles.grants import covers, require_to_hold
from crewmesh_gateway.roles.schemas import Catalogue, NewRole, PermissionView, Role, RoleChange

_ABOUT_BUILT_IN = {
    "viewer": "Sees everything that is made and run.",
    "editor": "Makes and runs workflows, crews and knowledge bases.",
    "admin": "Also manages members, teams, roles, keys and limits.",
    "owner": "May do everything, also delete the organization or hand it over.",
}
BUILT_IN: tuple[Role, ...] = tuple(
    Role(
        id=name,
        name=name,
        about=_ABOUT_BUILT_IN[name],
        permissions=tuple(sorted(permissions.of_role(name))),
        built_in=True,
    )
    for name in permissions.BUILT_IN_ROLES
)
CATALOGUE = Catalogue(
    permissions=tuple(
        PermissionView(name=each.name, about=each.about, least_role=each.least) for each in permissions.PERMISSIONS
    ),
    roles=BUILT_IN,
)
_SHOWN = {"name", "about", "permissions"}


class Roles:
    def __init__(self, database: Database, idempotency: Idempotency, principals: Principals, quotas: Quotas) -> None:
        self._database = database
        self._idempotency = idempotency
        self._principals = principals
        self._quotas = quotas

    async def create(self, principal: Principal, new: NewRole, *, key: str | None) -> Role:
        require_to_hold(principal, new.permissions)
        async with self._database.tenant(principal.organization) as conn:

            async def work() -> Role:
                await active(conn, principal.organization)
                await self._quotas.check(conn, principal.organization, "custom_roles")
                created = await repository.add(conn, principal.organization, new)
                if created is None:
                    raise RoleExists(new.name)
                await audit.record(
                    conn, principal.identity, "role.created", created.id, after=new.model_dump(mode="json")
                )
                return created

            return await self._idempotency.once_in(
                conn, identity=principal.identity, scope="roles", key=key, request=new, work=work
            )

    async def page(self, principal: Principal, request: PageRequest) -> Page[Role]:
        """The built-in ones first, from the least to the greatest; then those of the organization."""
        ended = request.after_text()
        names = [role.id for role in BUILT_IN]
        if ended is None:
            built_in, ended_custom = BUILT_IN, None
        elif ended in names:
            built_in, ended_custom = BUILT_IN[names.index(ended) + 1 :], None
        else:
            built_in, ended_custom = (), ended
        async with self._database.tenant(principal.organization) as conn:
            custom = await repository.page(conn, principal.organization, ended_custom, request.limit + 1)
        return request.page([*built_in, *custom][: request.limit + 1], lambda role: (role.id,))

    async def get(self, principal: Principal, role: str) -> Role:
        for built_in in BUILT_IN:
            if built_in.id == role:
                return built_in
        async with self._database.tenant(principal.organization) as conn:
            return await _required(conn, principal, role)

    async def change(self, principal: Principal, role: str, change: RoleChange, if_match: str | None) -> Role:
        async with self._database.tenant(principal.organization) as conn:
            before = await self._held(conn, principal, role)
            require_match(if_match, before.version or 0)
            wanted = before.model_copy(update=change.model_dump(include=change.model_fields_set))
            require_to_hold(principal, wanted.permissions)
            if wanted == before:
                return before
            if await repository.name_is_taken(conn, principal.organization, wanted.name, but=role):
                raise RoleExists(wanted.name)
            after = await repository.change(conn, principal.organization, wanted)
            if after is None:
                raise UnknownRole(role)
            if not covers(frozenset(after.permissions), frozenset(before.permissions)):
                await invitations.revoke_sent_with(conn, principal.organization, role)
            # Whoever has it may do something else from now on.
            self._principals.forget_with(conn, principal.organization)
            told = [each.model_dump(mode="json", include=_SHOWN) for each in (before, after)]
            await audit.record(conn, principal.identity, "role.updated", role, before=told[0], after=told[1])
            return after

    async def delete(self, principal: Principal, role: str) -> None:
        async with self._database.tenant(principal.organization) as conn:
            before = await self._held(conn, principal, role)
            users = await repository.users(conn, principal.organization, role)
            if any(users.values()):
                raise RoleInUse(users)
            await repository.delete(conn, principal.organization, role)
            told = before.model_dump(mode="json", include=_SHOWN)
            await audit.record(conn, principal.identity, "role.deleted", role, before=told)

    async def _held(self, conn: AsyncConnection[DictRow], principal: Principal, role: str) -> Role:
        """The custom role, with the organization locked, so that nobody is given it meanwhile."""
        if role in permissions.BUILT_IN_ROLES:
            raise BuiltInRole(role)
        await active(conn, principal.organization)
        found = await _required(conn, principal, role)
        require_to_hold(principal, found.permissions)
        return found


async def _required(conn: AsyncConnection[DictRow], principal: Principal, role: str) -> Role:
    found = await repository.find(conn, principal.organization, role)
    if found is None:
        raise UnknownRole(role)
    return found
