"""Making, changing and deleting service accounts. Nobody gives one a role that allows more than they may themselves."""

from __future__ import annotations

from crewmesh_contracts.base import JsonObject
from crewmesh_kit import audit
from crewmesh_kit.db.database import Database
from crewmesh_kit.db.idempotency import Idempotency
from crewmesh_kit.http.etags import require_match
from crewmesh_kit.http.pagination import Page, PageRequest
from psycopg import AsyncConnection
from psycopg.rows import DictRow

from crewmesh_gateway.invitations import repository as invitations
from crewmesh_gateway.limits.quotas import Quotas
from crewmesh_gateway.organizations.guards import active, held
from crewmesh_gateway.principals.models import Principal
from crewmesh_gateway.principals.service import Principals
from crewmesh_gateway.roles.grants import covers, require_to_give
from crewmesh_gateway.service_accounts import repository
from crewmesh_gateway.service_accounts.errors import ServiceAccountExists, UnknownServiceAccount
from crewmesh_gateway.service_accounts.schemas import NewServiceAccount, ServiceAccount, ServiceAccountChange

_TOLD = {"name", "role"}


class ServiceAccounts:
    def __init__(self, database: Database, idempotency: Idempotency, principals: Principals, quotas: Quotas) -> None:
        self._database = database
        self._idempotency = idempotency
        self._principals = principals
        self._quotas = quotas

    async def page(self, principal: Principal, request: PageRequest) -> Page[ServiceAccount]:
        after = request.after_text()
        async with self._database.tenant(principal.organization) as conn:
            accounts = await repository.page(conn, principal.organization, after, request.limit + 1)
        return request.page(accounts, lambda each: (each.id,))

    async def get(self, principal: Principal, account: str) -> ServiceAccount:
        async with self._database.tenant(principal.organization) as conn:
            return await required(conn, principal, account)

    async def create(self, principal: Principal, new: NewServiceAccount, *, key: str | None) -> ServiceAccount:
        async with self._database.tenant(principal.organization) as conn:

            async def work() -> ServiceAccount:
                await active(conn, principal.organization)
                await require_to_give(conn, principal, new.role)
                await self._quotas.check(conn, principal.organization, "service_accounts")
                added = await repository.add(conn, principal.organization, new, created_by=principal.identity.subject)
                if added is None:
                    raise ServiceAccountExists(new.name)
                shown = added.model_dump(include=_TOLD)
                await audit.record(conn, principal.identity, "service-account.created", added.id, after=shown)
                return added

            return await self._idempotency.once_in(
                conn, identity=principal.identity, scope="service-accounts", key=key, request=new, work=work
            )

    async def change(
        self, principal: Principal, account: str, change: ServiceAccountChange, if_match: str | None
    ) -> ServiceAccount:
        async with self._database.tenant(principal.organization) as conn:
            await active(conn, principal.organization)
            before = await required(conn, principal, account)
            require_match(if_match, before.version)
            wanted = before.model_copy(update=change.model_dump(include=change.model_fields_set))
            if wanted == before:
                return before
            await _check_change(conn, principal, before, wanted)
            after = await repository.change(conn, principal.organization, wanted)
            if after is None:
                raise UnknownServiceAccount(account)
            self._principals.forget_with(conn, account)
            await audit.record(
                conn,
                principal.identity,
                "service-account.updated",
                account,
                before=before.model_dump(include=_TOLD),
                after=after.model_dump(include=_TOLD),
            )
            return after

    async def delete(self, principal: Principal, account: str) -> None:
        """With all its keys, which end at once."""
        async with self._database.tenant(principal.organization) as conn:
            await held(conn, principal.organization)
            before = await required(conn, principal, account)
            await invitations.revoke_sent_by(conn, principal.organization, account)
            keys = await repository.delete(conn, principal.organization, account)
            self._principals.forget_with(conn, account)
            shown: JsonObject = {**before.model_dump(include=_TOLD), "keys": [*keys]}
            await audit.record(conn, principal.identity, "service-account.deleted", account, before=shown)


async def required(conn: AsyncConnection[DictRow], principal: Principal, account: str) -> ServiceAccount:
    """The organization's service account of this id, in the caller's transaction."""
    found = await repository.find(conn, principal.organization, account)
    if found is None:
        raise UnknownServiceAccount(account)
    return found


async def _check_change(
    conn: AsyncConnection[DictRow], principal: Principal, before: ServiceAccount, wanted: ServiceAccount
) -> None:
    if wanted.role != before.role:
        had, has = [await require_to_give(conn, principal, role) for role in (before.role, wanted.role)]
        if not covers(has, had):
            await invitations.revoke_sent_by(conn, principal.organization, before.id)
    if wanted.name != before.name and await repository.name_is_taken(
        conn, principal.organization, wanted.name, but=before.id
    ):
        raise ServiceAccountExists(wanted.name)
